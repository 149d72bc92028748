-- The rules of pg_hba.conf as the server last parsed the file. Readable by superusers and whom they grant it to.
SELECT line_number, type, database, user_name, address, netmask, auth_method, options, error
FROM pg_hba_file_rules
ORDER BY line_number

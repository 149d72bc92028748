-- The mappings of pg_ident.conf as the server last parsed the file. Readable by superusers and whom they grant it to.
SELECT line_number, map_name, sys_name, pg_username, error
FROM pg_ident_file_mappings
ORDER BY line_number

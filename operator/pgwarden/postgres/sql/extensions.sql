-- Extensions of the database we are connected to.
SELECT extname, extversion
FROM pg_extension
ORDER BY extname

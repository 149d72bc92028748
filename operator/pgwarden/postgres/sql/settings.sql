-- Settings somebody has set, without those of our own connection.
SELECT name, current_setting(name), source
FROM pg_settings
WHERE source NOT IN ('default', 'override', 'client', 'session', 'user', 'database', 'database user', 'interactive', 'test')
ORDER BY name

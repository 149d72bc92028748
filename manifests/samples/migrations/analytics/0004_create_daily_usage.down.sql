DROP FUNCTION refresh_daily_usage(date, date);
DROP TABLE daily_usage;

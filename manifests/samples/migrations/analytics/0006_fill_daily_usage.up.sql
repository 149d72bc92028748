SELECT refresh_daily_usage(date '2026-06-01', date '2026-11-30');

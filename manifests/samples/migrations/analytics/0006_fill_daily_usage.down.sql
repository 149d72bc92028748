DELETE FROM daily_usage WHERE day BETWEEN date '2026-06-01' AND date '2026-11-30';

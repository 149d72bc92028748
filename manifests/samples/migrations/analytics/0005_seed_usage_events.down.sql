DELETE FROM usage_events WHERE attributes @> '{"seed": true}';

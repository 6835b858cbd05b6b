-- What the relay claims lies at one end of an index, however many orders are due: it names the number of publications, and
-- takes the oldest of them, or the newest of those that it has not tried yet. Orders that are never due (NULL) sort apart.
ALTER TABLE production_order
    DROP INDEX IF EXISTS production_order_next_attempt_at,
    ADD INDEX IF NOT EXISTS production_order_due (publications, next_attempt_at),
    ADD INDEX IF NOT EXISTS production_order_untried (publications, attempts, next_attempt_at)

-- Delete up to p_limit Idempotency-Keys older than p_retention, oldest first.
-- Returns one row: the number of rows deleted.
CREATE OR REPLACE PROCEDURE purge_idempotency_keys(
    IN p_retention INT,    -- seconds
    IN p_limit     INT
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DELETE FROM idempotency_key WHERE created_at < UTC_TIMESTAMP(6) - INTERVAL p_retention SECOND
    ORDER BY created_at LIMIT p_limit;
    SELECT ROW_COUNT() AS purged;
END

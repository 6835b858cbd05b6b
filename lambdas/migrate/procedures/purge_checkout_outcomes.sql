-- Delete up to p_limit outcomes of checkouts that are older than p_retention, oldest first.
-- Returns one row: the number of rows deleted.
CREATE OR REPLACE PROCEDURE purge_checkout_outcomes(
    IN p_retention INT,    -- seconds
    IN p_limit     INT
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DELETE FROM checkout_outcome WHERE created_at < UTC_TIMESTAMP(6) - INTERVAL p_retention SECOND
    ORDER BY created_at LIMIT p_limit;
    SELECT ROW_COUNT() AS purged;
END

-- Blank the requester's name in up to p_limit purchases older than p_retention, oldest first.
-- An older purchase has a lower id. The table `blanking_progress` has the id of the last purchase
-- that was blanked, and the next call continues there. A call stops at the first purchase that is
-- too young. If the server's clock was fast when a purchase was made, later ones wait for it.
-- p_retention must be longer than any transaction, because a purchase may be committed after one
-- with a higher id, and would be skipped.
-- Returns one row: the number of purchases blanked.
CREATE OR REPLACE PROCEDURE blank_purchases(
    IN p_retention INT,    -- seconds
    IN p_limit     INT
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DECLARE v_before DATETIME(6) DEFAULT UTC_TIMESTAMP(6) - INTERVAL p_retention SECOND;
    DECLARE v_last BIGINT DEFAULT 0;
    DECLARE v_next BIGINT;
    DECLARE v_blanked INT;

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    START TRANSACTION;
    SELECT last_id INTO v_last FROM blanking_progress WHERE table_name = 'purchase' FOR UPDATE;
    -- TRUNCATE makes the ids begin again at 1.
    SELECT LEAST(v_last, COALESCE(MAX(purchase_id), 0)) INTO v_last FROM purchase;
    SELECT COALESCE(MIN(IF(purchased_at < v_before, NULL, purchase_id)) - 1, MAX(purchase_id),
                    v_last)
    INTO v_next
    FROM (SELECT purchase_id, purchased_at FROM purchase WHERE purchase_id > v_last
          ORDER BY purchase_id LIMIT p_limit) AS oldest;
    UPDATE purchase SET requester = '' WHERE purchase_id > v_last AND purchase_id <= v_next;
    SET v_blanked = ROW_COUNT();
    INSERT INTO blanking_progress (table_name, last_id) VALUES ('purchase', v_next)
    ON DUPLICATE KEY UPDATE last_id = v_next;
    COMMIT;
    SELECT v_blanked AS blanked;
END

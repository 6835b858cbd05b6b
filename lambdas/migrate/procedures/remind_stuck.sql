-- Set stuck orders back to 'requested', as if they were new: the relay publishes them, and they get
-- all their reminders. Orders that are not stuck do not change.
-- A call with an id that was used before changes nothing, and returns the first call's result, with
-- its verb.
-- Returns one row: the number of orders reminded.
CREATE OR REPLACE PROCEDURE remind_stuck(
    IN p_operation_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
    IN p_order_ids    LONGTEXT CHARACTER SET utf8mb4    -- a JSON array
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DECLARE v_reminded INT DEFAULT 0;

    DECLARE EXIT HANDLER FOR 1062
    BEGIN
        ROLLBACK;
        SELECT reminded, verb FROM operation WHERE operation_id = p_operation_id;
    END;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    START TRANSACTION;
    -- A repeated call waits here until the first one has ended.
    INSERT INTO operation (operation_id, verb, recorded_at)
    VALUES (p_operation_id, 'remind', UTC_TIMESTAMP(6));
    -- Not a single UPDATE with IN (…), which would read and lock the whole table.
    FOR listed IN (
        SELECT order_id
        FROM JSON_TABLE(p_order_ids, '$[*]' COLUMNS (
            order_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin PATH '$')) AS ids
        ORDER BY order_id
    ) DO
        UPDATE production_order
        SET status = 'requested', publications = 0, attempts = 0,
            next_attempt_at = UTC_TIMESTAMP(6), reminded_by = p_operation_id
        WHERE order_id = listed.order_id AND status = 'stuck';
        SET v_reminded = v_reminded + ROW_COUNT();
    END FOR;
    UPDATE operation SET reminded = v_reminded WHERE operation_id = p_operation_id;
    COMMIT;

    SELECT v_reminded AS reminded;
END

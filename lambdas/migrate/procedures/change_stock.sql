-- Add to a product's stock, or take from it, and spread the new stock evenly over its slots.
-- If the stock would fall below 0, nothing changes. Fails if there is no such product.
-- Other procedures and the migration call this in a transaction of their own. It locks all of the
-- product's slots in ascending order, beginning with the product's own row. A caller that already
-- has a lock on a later slot could cause a deadlock.
CREATE OR REPLACE PROCEDURE change_stock(
    IN  p_product_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
    IN  p_amount     BIGINT,     -- below 0: taken from the stock
    IN  p_slots      INT,        -- how many slots the product gets; NULL: as many as it has
    OUT p_changed    BOOLEAN,
    OUT p_stock      BIGINT      -- the total of all slots after the call
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
change_stock: BEGIN
    DECLARE v_own BIGINT DEFAULT NULL;
    DECLARE v_others BIGINT;
    DECLARE v_slots INT;
    DECLARE v_slot INT;

    SELECT stock, slots INTO v_own, v_slots FROM product WHERE product_id = p_product_id FOR UPDATE;
    IF v_own IS NULL THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'there is no such product';
    END IF;
    SELECT COALESCE(SUM(stock), 0) INTO v_others FROM product_slot FORCE INDEX (PRIMARY)
    WHERE product_id = p_product_id FOR UPDATE;
    SET p_stock = v_own + v_others;
    SET p_changed = p_stock + p_amount >= 0;
    IF NOT p_changed THEN
        LEAVE change_stock;
    END IF;
    SET p_stock = p_stock + p_amount;

    IF p_slots IS NOT NULL AND p_slots <> v_slots THEN
        SET v_slot = v_slots;
        WHILE v_slot < p_slots DO
            INSERT INTO product_slot (product_id, slot, stock) VALUES (p_product_id, v_slot, 0);
            SET v_slot = v_slot + 1;
        END WHILE;
        -- One by one: a range would also lock the first slot of the next product.
        SET v_slot = p_slots;
        WHILE v_slot < v_slots DO
            DELETE FROM product_slot WHERE product_id = p_product_id AND slot = v_slot;
            SET v_slot = v_slot + 1;
        END WHILE;
        SET v_slots = p_slots;
    END IF;
    -- The first slots get the remainder, one piece each; the product's row is slot 0.
    UPDATE product SET stock = p_stock DIV v_slots + (0 < p_stock MOD v_slots), slots = v_slots
    WHERE product_id = p_product_id;
    IF v_slots > 1 THEN
        UPDATE product_slot SET stock = p_stock DIV v_slots + (slot < p_stock MOD v_slots)
        WHERE product_id = p_product_id;
    END IF;
END

-- The ledger of purchases. Only the procedure `checkout` writes it, in the transaction that reduces the stock.
-- There is no foreign key to `product`: its check would hold the lock on the product's row for longer,
-- and `checkout` has just read that row.
CREATE TABLE IF NOT EXISTS purchase (
    purchase_id  BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    product_id   CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    quantity     BIGINT       NOT NULL,
    requester    VARCHAR(200) NOT NULL COMMENT 'the customer''s name: personal data',
    purchased_at DATETIME(6)  NOT NULL COMMENT 'UTC',
    CONSTRAINT purchase_quantity CHECK (quantity > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'ledger of purchases'

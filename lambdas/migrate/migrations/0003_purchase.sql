-- The ledger: what was sold. Written by the procedure `checkout` alone, in the transaction that takes the stock.
-- No foreign key: its check would lengthen the time the product's row is locked, and its one writer has just read that row.
CREATE TABLE IF NOT EXISTS purchase (
    purchase_id  BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    product_id   CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    quantity     BIGINT       NOT NULL,
    requester    VARCHAR(200) NOT NULL,
    purchased_at DATETIME(6)  NOT NULL COMMENT 'UTC',
    CONSTRAINT purchase_quantity CHECK (quantity > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci

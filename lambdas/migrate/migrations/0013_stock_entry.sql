-- Every change of a product's stock that is neither a purchase nor the arrival of an order.
-- So, for each product: stock = entries - purchases + arrived orders.
CREATE TABLE IF NOT EXISTS stock_entry (
    stock_entry_id BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    product_id     CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kind           ENUM ('opening', 'reset', 'stocktake') NOT NULL,
    amount         BIGINT       NOT NULL COMMENT 'added to the stock; below 0: taken from it',
    reason         VARCHAR(200) NOT NULL,
    recorded_by    VARCHAR(200) NOT NULL COMMENT 'the function or the person that changed the stock',
    recorded_at    DATETIME(6)  NOT NULL COMMENT 'UTC'
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'changes of stock that are neither purchases nor arrivals'

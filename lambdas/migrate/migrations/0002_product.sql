-- Products that customers can buy. The procedures `checkout` and `restock` change the stock.
CREATE TABLE IF NOT EXISTS product (
    product_id CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    slug       VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE COMMENT 'in the URL',
    sku        VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    name       VARCHAR(200) NOT NULL,
    price      BIGINT       NOT NULL COMMENT 'in South Korean won',
    stock      BIGINT       NOT NULL COMMENT 'pieces that can be sold now',
    factory_id VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
        COMMENT 'makes the product unless a customer names another factory',
    CONSTRAINT product_price CHECK (price >= 0),
    CONSTRAINT product_stock CHECK (stock >= 0),
    CONSTRAINT product_factory FOREIGN KEY (factory_id) REFERENCES factory (factory_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'products that customers can buy'

-- Database users: shop_relay, shop_restock, shop_sales
-- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
-- Server version	10.11.19-MariaDB-0+deb12u1-log

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;
/*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;
/*!40101 SET NAMES utf8mb4 */;
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;

--
-- Current Database: `shop`
--

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci */;

USE `shop`;

--
-- Table structure for table `checkout_outcome`
--

DROP TABLE IF EXISTS `checkout_outcome`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `checkout_outcome` (
  `order_id` char(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `purchased` tinyint(1) DEFAULT NULL COMMENT 'NULL: cancelled, so the checkout has not sold anything and never will',
  `stock` bigint(20) DEFAULT NULL COMMENT 'as the response said; NULL: cancelled',
  `created_at` datetime(6) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`order_id`),
  KEY `checkout_outcome_created_at` (`created_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='outcome of each recent checkout without an Idempotency-Key';
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `checkout_outcome`
--
-- ORDER BY:  `order_id`

LOCK TABLES `checkout_outcome` WRITE;
/*!40000 ALTER TABLE `checkout_outcome` DISABLE KEYS */;
INSERT INTO `checkout_outcome` VALUES ('arrived',0,7,'2026-11-24 16:03:52.581929');
INSERT INTO `checkout_outcome` VALUES ('bought',1,8,'2026-11-24 16:03:52.569433');
INSERT INTO `checkout_outcome` VALUES ('cancelled',NULL,NULL,'2026-11-24 16:03:52.623611');
INSERT INTO `checkout_outcome` VALUES ('claimed',0,29,'2026-11-24 16:03:52.613313');
INSERT INTO `checkout_outcome` VALUES ('published',0,7,'2026-11-24 16:03:52.578727');
INSERT INTO `checkout_outcome` VALUES ('reminded',0,7,'2026-11-24 16:03:52.580547');
INSERT INTO `checkout_outcome` VALUES ('requested',0,7,'2026-11-24 16:03:52.575783');
INSERT INTO `checkout_outcome` VALUES ('stuck',0,7,'2026-11-24 16:03:52.583566');
/*!40000 ALTER TABLE `checkout_outcome` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `factory`
--

DROP TABLE IF EXISTS `factory`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `factory` (
  `factory_id` varchar(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `name` varchar(200) NOT NULL,
  PRIMARY KEY (`factory_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='factories that make the products';
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `factory`
--
-- ORDER BY:  `factory_id`

LOCK TABLES `factory` WRITE;
/*!40000 ALTER TABLE `factory` DISABLE KEYS */;
INSERT INTO `factory` VALUES ('FF-500293','부산도너츠 공장');
/*!40000 ALTER TABLE `factory` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `idempotency_key`
--

DROP TABLE IF EXISTS `idempotency_key`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `idempotency_key` (
  `idempotency_key` varchar(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `request_hash` binary(32) NOT NULL COMMENT 'SHA-256 of the request that used the key first',
  `purchased` tinyint(1) NOT NULL,
  `stock` bigint(20) NOT NULL COMMENT 'as the response said',
  `order_id` char(36) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL COMMENT 'NULL if purchased',
  `created_at` datetime(6) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`idempotency_key`),
  KEY `idempotency_key_created_at` (`created_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='first response to each checkout with an Idempotency-Key';
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `idempotency_key`
--
-- ORDER BY:  `idempotency_key`

LOCK TABLES `idempotency_key` WRITE;
/*!40000 ALTER TABLE `idempotency_key` DISABLE KEYS */;
INSERT INTO `idempotency_key` VALUES ('key of a purchase',0x0000000000000000000000000000000000000000000000000000000000000000,1,7,NULL,'2026-11-24 16:03:52.572589');
INSERT INTO `idempotency_key` VALUES ('key of an order',0x0000000000000000000000000000000000000000000000000000000000000000,0,7,'key-order','2026-11-24 16:03:52.576890');
/*!40000 ALTER TABLE `idempotency_key` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `product`
--

DROP TABLE IF EXISTS `product`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `product` (
  `product_id` char(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `slug` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'in the URL',
  `sku` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `name` varchar(200) NOT NULL,
  `price` bigint(20) NOT NULL COMMENT 'in South Korean won',
  `stock` bigint(20) NOT NULL COMMENT 'pieces that can be sold now',
  `factory_id` varchar(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'makes the product unless a customer names another factory',
  PRIMARY KEY (`product_id`),
  UNIQUE KEY `slug` (`slug`),
  UNIQUE KEY `sku` (`sku`),
  KEY `product_factory` (`factory_id`),
  CONSTRAINT `product_factory` FOREIGN KEY (`factory_id`) REFERENCES `factory` (`factory_id`),
  CONSTRAINT `product_price` CHECK (`price` >= 0),
  CONSTRAINT `product_stock` CHECK (`stock` >= 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='products that customers can buy';
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `product`
--
-- ORDER BY:  `product_id`

LOCK TABLES `product` WRITE;
/*!40000 ALTER TABLE `product` DISABLE KEYS */;
INSERT INTO `product` VALUES ('e3957c48-2e06-4d5e-8404-4ff32e8b8f9f','donut','CP-502101','부산도너츠',19900,29,'FF-500293');
/*!40000 ALTER TABLE `product` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `production_order`
--

DROP TABLE IF EXISTS `production_order`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `production_order` (
  `order_id` char(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'public: it gives no power over the order',
  `callback_token` varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'secret: whoever has it can report the arrival of this order, once',
  `product_id` char(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `factory_id` varchar(200) NOT NULL COMMENT 'as the customer wrote it, or the product''s own',
  `quantity` bigint(20) NOT NULL,
  `requester` varchar(200) NOT NULL COMMENT 'the customer''s name: personal data',
  `status` enum('requested','published','arrived','stuck') NOT NULL DEFAULT 'requested',
  `requested_at` datetime(6) NOT NULL COMMENT 'UTC',
  `published_at` datetime(6) DEFAULT NULL COMMENT 'UTC, of the last publication',
  `arrived_at` datetime(6) DEFAULT NULL COMMENT 'UTC',
  `publications` int(11) NOT NULL DEFAULT 0 COMMENT 'how many times the order was published',
  `attempts` int(11) NOT NULL DEFAULT 0 COMMENT 'claims since the last publication',
  `next_attempt_at` datetime(6) DEFAULT NULL COMMENT 'UTC; the relay claims the order from then on; NULL: never',
  `claim` char(36) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL COMMENT 'the last claim that leased the order',
  PRIMARY KEY (`order_id`),
  KEY `production_order_claim` (`claim`),
  KEY `production_order_status` (`status`,`requested_at`),
  KEY `production_order_due` (`publications`,`next_attempt_at`),
  KEY `production_order_untried` (`publications`,`attempts`,`next_attempt_at`),
  CONSTRAINT `production_order_quantity` CHECK (`quantity` > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='outbox of production orders';
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `production_order`
--
-- ORDER BY:  `order_id`

LOCK TABLES `production_order` WRITE;
/*!40000 ALTER TABLE `production_order` DISABLE KEYS */;
INSERT INTO `production_order` VALUES ('arrived','a-callback-token','e3957c48-2e06-4d5e-8404-4ff32e8b8f9f','FF-500293',22,'unknown','arrived','2026-11-24 16:03:52.581968','2026-11-24 16:03:52.582839','2026-11-24 16:03:52.591503',1,0,NULL,NULL);
INSERT INTO `production_order` VALUES ('claimed','a-callback-token','e3957c48-2e06-4d5e-8404-4ff32e8b8f9f','FF-500293',100,'unknown','requested','2026-11-24 16:03:52.613368',NULL,NULL,0,1,'2026-11-24 16:04:52.616295','a-claim');
INSERT INTO `production_order` VALUES ('key-order','a-callback-token','e3957c48-2e06-4d5e-8404-4ff32e8b8f9f','FF-500293',21,'unknown','requested','2026-11-24 16:03:52.577164',NULL,NULL,0,0,'2026-11-24 16:04:22.577164',NULL);
INSERT INTO `production_order` VALUES ('published','a-callback-token','e3957c48-2e06-4d5e-8404-4ff32e8b8f9f','FF-500293',22,'unknown','published','2026-11-24 16:03:52.578769','2026-11-24 16:03:52.579720',NULL,1,0,'2026-11-24 17:03:52.579720',NULL);
INSERT INTO `production_order` VALUES ('reminded','a-callback-token','e3957c48-2e06-4d5e-8404-4ff32e8b8f9f','FF-500293',22,'unknown','published','2026-11-24 16:03:52.580633','2026-11-24 16:03:52.602224',NULL,3,0,'2026-11-24 17:03:52.602224',NULL);
INSERT INTO `production_order` VALUES ('requested','a-callback-token','e3957c48-2e06-4d5e-8404-4ff32e8b8f9f','다른 공장',20,'unknown','requested','2026-11-24 16:03:52.575835',NULL,NULL,0,0,'2026-11-24 16:04:22.575835',NULL);
INSERT INTO `production_order` VALUES ('stuck','a-callback-token','e3957c48-2e06-4d5e-8404-4ff32e8b8f9f','FF-500293',22,'unknown','stuck','2026-11-24 16:03:52.583596','2026-11-24 16:03:52.603625',NULL,2,0,NULL,NULL);
/*!40000 ALTER TABLE `production_order` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `purchase`
--

DROP TABLE IF EXISTS `purchase`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `purchase` (
  `purchase_id` bigint(20) NOT NULL AUTO_INCREMENT,
  `product_id` char(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `quantity` bigint(20) NOT NULL,
  `requester` varchar(200) NOT NULL COMMENT 'the customer''s name: personal data',
  `purchased_at` datetime(6) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`purchase_id`),
  CONSTRAINT `purchase_quantity` CHECK (`quantity` > 0)
) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='ledger of purchases';
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `purchase`
--
-- ORDER BY:  `purchase_id`

LOCK TABLES `purchase` WRITE;
/*!40000 ALTER TABLE `purchase` DISABLE KEYS */;
INSERT INTO `purchase` VALUES (1,'e3957c48-2e06-4d5e-8404-4ff32e8b8f9f',2,'홍길동','2026-11-24 16:03:52.569587');
INSERT INTO `purchase` VALUES (2,'e3957c48-2e06-4d5e-8404-4ff32e8b8f9f',1,'김철수 🍩','2026-11-24 16:03:52.572698');
/*!40000 ALTER TABLE `purchase` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Table structure for table `schema_migration`
--

DROP TABLE IF EXISTS `schema_migration`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `schema_migration` (
  `file` varchar(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `sha256` char(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'of the file, in hexadecimal',
  `applied_at` datetime(6) NOT NULL COMMENT 'UTC',
  PRIMARY KEY (`file`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT='migration files that were applied';
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `schema_migration`
--
-- ORDER BY:  `file`

LOCK TABLES `schema_migration` WRITE;
/*!40000 ALTER TABLE `schema_migration` DISABLE KEYS */;
INSERT INTO `schema_migration` VALUES ('0001_factory.sql','1173f7719d79e2c3ffab8ec28305753d8deabb2eedc745fa2fa67714aafab904','2026-11-24 16:03:52.236933');
INSERT INTO `schema_migration` VALUES ('0002_product.sql','a52868c7b3e96d136969895781dfa052e35eeafc2ab6686e4bfefc2277bb76a8','2026-11-24 16:03:52.292924');
INSERT INTO `schema_migration` VALUES ('0003_purchase.sql','2a79f71762b469212db2b3706fd744d451c2ced248eed4fdbee1644e3d1575fc','2026-11-24 16:03:52.329074');
INSERT INTO `schema_migration` VALUES ('0004_production_order.sql','d003c391477b088dde046773cbd468c830151874d760254913cf325c72e47c76','2026-11-24 16:03:52.387357');
INSERT INTO `schema_migration` VALUES ('0005_idempotency_key.sql','ed31375ed049a780e7a1e64b2514e6385e35d4c98fb44c9ae47383f7f598b52e','2026-11-24 16:03:52.428926');
INSERT INTO `schema_migration` VALUES ('0006_checkout_outcome.sql','0d55ef482a24ad4fc84c48fe64ba3c540957b9305188bc266c7f17c13d26614d','2026-11-24 16:03:52.465458');
INSERT INTO `schema_migration` VALUES ('0007_seed_factory.sql','7d479e3e12a7ca468996ec152c437dd2a3c307f79865f77f82209d20a6d19d64','2026-11-24 16:03:52.471206');
INSERT INTO `schema_migration` VALUES ('0008_seed_product.sql','56c7aa3391a9ede21cef50e7009c858e8b93269dcee08dccc6ed4e00dc522800','2026-11-24 16:03:52.474993');
/*!40000 ALTER TABLE `schema_migration` ENABLE KEYS */;
UNLOCK TABLES;

--
-- Dumping routines for database 'shop'
--
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 DROP PROCEDURE IF EXISTS `cancel_checkout` */;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`admin`@`%` PROCEDURE `cancel_checkout`(
    IN p_order_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin
)
    MODIFIES SQL DATA
BEGIN
    DECLARE EXIT HANDLER FOR 1062
        SELECT IF(purchased IS NULL, 'cancelled', 'replayed') AS outcome, purchased, stock,
               IF(purchased, NULL, order_id) AS order_id
        FROM checkout_outcome WHERE order_id = p_order_id;

    INSERT INTO checkout_outcome (order_id, created_at) VALUES (p_order_id, UTC_TIMESTAMP(6));
    SELECT 'cancelled' AS outcome;
END
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 DROP PROCEDURE IF EXISTS `checkout` */;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`admin`@`%` PROCEDURE `checkout`(
    IN p_slug            VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin,
    IN p_product_id      CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin,   -- NULL: the product with p_slug
    IN p_quantity        BIGINT,
    IN p_factory_id      VARCHAR(200) CHARACTER SET utf8mb4,                   -- NULL: the product's own factory
    IN p_requester       VARCHAR(200) CHARACTER SET utf8mb4,
    IN p_order_id        CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin,
    IN p_callback_token  VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin,
    IN p_publish_within  INT,                                                  -- seconds until the relay publishes
    IN p_idempotency_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin,   -- NULL: none
    IN p_request_hash    BINARY(32),
    IN p_not_before      DECIMAL(20, 6),   -- Unix time on the server's clock: the checkout is rolled back before this,
    IN p_not_after       DECIMAL(20, 6)    -- or after this, when the client may have been told that nothing was sold
)
    MODIFIES SQL DATA
checkout: BEGIN
    DECLARE v_product_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL;
    DECLARE v_slug VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin;
    DECLARE v_factory_id VARCHAR(200) CHARACTER SET utf8mb4;
    DECLARE v_stock BIGINT;
    DECLARE v_sold BOOLEAN DEFAULT FALSE;
    DECLARE v_clock DECIMAL(20, 6);

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;
    -- A duplicate key: the transaction that inserted the same Idempotency-Key or order id has committed by now.
    DECLARE EXIT HANDLER FOR 1062
    BEGIN
        ROLLBACK;
        IF p_idempotency_key IS NULL THEN
            SELECT 'cancelled' AS outcome, UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock;
        ELSE
            SELECT 'replayed' AS outcome, purchased, stock, order_id, request_hash,
                   UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock
            FROM idempotency_key WHERE idempotency_key = p_idempotency_key;
        END IF;
    END;

    IF COALESCE(p_quantity, 0) < 1 THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'quantity must be at least 1';
    END IF;
    IF p_product_id IS NULL THEN
        SELECT product_id, slug, factory_id INTO v_product_id, v_slug, v_factory_id
        FROM product WHERE slug = p_slug;
    ELSE
        SELECT product_id, slug, factory_id INTO v_product_id, v_slug, v_factory_id
        FROM product WHERE product_id = p_product_id;
    END IF;
    IF v_product_id IS NULL THEN
        SELECT 'no_such_product' AS outcome, UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock;
        LEAVE checkout;
    END IF;

    START TRANSACTION;
    decide: LOOP
        UPDATE product SET stock = LAST_INSERT_ID(stock - p_quantity)
        WHERE product_id = v_product_id AND stock >= p_quantity;
        IF ROW_COUNT() = 1 THEN
            SET v_stock = LAST_INSERT_ID();
            SET v_sold = TRUE;
            LEAVE decide;
        END IF;
        SELECT stock INTO v_stock FROM product WHERE product_id = v_product_id;
        IF v_stock >= p_quantity THEN    -- an order has arrived in between
            ITERATE decide;
        END IF;
        LEAVE decide;
    END LOOP;

    IF p_idempotency_key IS NULL THEN
        INSERT INTO checkout_outcome (order_id, purchased, stock, created_at)
        VALUES (p_order_id, v_sold, v_stock, UTC_TIMESTAMP(6));
    ELSE
        INSERT INTO idempotency_key (idempotency_key, request_hash, purchased, stock, order_id, created_at)
        VALUES (p_idempotency_key, p_request_hash, v_sold, v_stock, IF(v_sold, NULL, p_order_id),
                UTC_TIMESTAMP(6));
    END IF;
    IF v_sold THEN
        INSERT INTO purchase (product_id, quantity, requester, purchased_at)
        VALUES (v_product_id, p_quantity, p_requester, UTC_TIMESTAMP(6));
    ELSE
        INSERT INTO production_order (order_id, callback_token, product_id, factory_id, quantity, requester,
                                      requested_at, next_attempt_at)
        VALUES (p_order_id, p_callback_token, v_product_id, COALESCE(p_factory_id, v_factory_id), p_quantity,
                p_requester, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL p_publish_within SECOND);
    END IF;
    -- Outside the window if the transaction waited for a lock, the server hung, or a clock stepped.
    SET v_clock = UNIX_TIMESTAMP(SYSDATE(6));
    IF v_clock NOT BETWEEN p_not_before AND p_not_after THEN
        ROLLBACK;
        SELECT 'late' AS outcome, v_clock AS server_clock;
        LEAVE checkout;
    END IF;
    COMMIT;

    IF v_sold THEN
        SELECT 'sold' AS outcome, TRUE AS purchased, v_stock AS stock, v_clock AS server_clock;
    ELSE
        SELECT 'out_of_stock' AS outcome, FALSE AS purchased, v_stock AS stock, v_clock AS server_clock,
               p_order_id AS order_id, v_product_id AS product_id, v_slug AS slug,
               COALESCE(p_factory_id, v_factory_id) AS factory_id;
    END IF;
END
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 DROP PROCEDURE IF EXISTS `claim_orders` */;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`admin`@`%` PROCEDURE `claim_orders`(
    IN p_claim        CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
    IN p_publications INT,
    IN p_newest       BOOLEAN,
    IN p_limit        INT,
    IN p_lease        INT     -- seconds; doubles with each claim since the last publication, up to four times
)
    MODIFIES SQL DATA
BEGIN
    DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    START TRANSACTION;
    IF p_newest THEN
        UPDATE production_order FORCE INDEX (production_order_untried)
        SET claim = p_claim, next_attempt_at = v_now + INTERVAL p_lease SECOND, attempts = 1
        WHERE publications = p_publications AND attempts = 0 AND next_attempt_at <= v_now
          AND status IN ('requested', 'published')
        ORDER BY next_attempt_at DESC LIMIT p_limit;
    ELSE
        UPDATE production_order FORCE INDEX (production_order_due)
        SET claim = p_claim, next_attempt_at = v_now + INTERVAL p_lease * POW(2, LEAST(attempts, 2)) SECOND,
            attempts = attempts + 1
        WHERE publications = p_publications AND next_attempt_at <= v_now AND status IN ('requested', 'published')
        ORDER BY next_attempt_at LIMIT p_limit;
    END IF;
    -- Not a join: it would wait for the lock on the product's row.
    UPDATE production_order SET status = 'stuck', next_attempt_at = NULL
    WHERE claim = p_claim
      AND NOT EXISTS (SELECT 1 FROM product WHERE product.product_id = production_order.product_id);
    COMMIT;

    SELECT order_id, callback_token, slug, product.product_id, production_order.factory_id, quantity, requester
    FROM production_order LEFT JOIN product USING (product_id)
    WHERE claim = p_claim;
END
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 DROP PROCEDURE IF EXISTS `mark_orphans` */;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`admin`@`%` PROCEDURE `mark_orphans`(
    IN p_publications INT,
    IN p_newest       BOOLEAN,
    IN p_limit        INT
)
    MODIFIES SQL DATA
BEGIN
    DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
    DECLARE v_marked INT DEFAULT 0;

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    START TRANSACTION;
    -- Not a single UPDATE: with IN (…) it would read the whole table, and with a join it would wait for the locks
    -- on products.
    FOR orphan IN (
        SELECT order_id FROM (
            (SELECT order_id, product_id FROM production_order FORCE INDEX (production_order_due)
             WHERE NOT p_newest AND publications = p_publications AND next_attempt_at <= v_now
             ORDER BY next_attempt_at LIMIT p_limit)
            UNION ALL
            (SELECT order_id, product_id FROM production_order FORCE INDEX (production_order_untried)
             WHERE p_newest AND publications = p_publications AND attempts = 0 AND next_attempt_at <= v_now
             ORDER BY next_attempt_at DESC LIMIT p_limit)
        ) AS due
        WHERE NOT EXISTS (SELECT 1 FROM product WHERE product.product_id = due.product_id)
    ) DO
        UPDATE production_order SET status = 'stuck', next_attempt_at = NULL
        WHERE order_id = orphan.order_id AND next_attempt_at <= v_now AND status IN ('requested', 'published');
        SET v_marked = v_marked + ROW_COUNT();
    END FOR;
    COMMIT;
    SELECT v_marked AS marked;
END
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 DROP PROCEDURE IF EXISTS `mark_published` */;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`admin`@`%` PROCEDURE `mark_published`(
    IN p_order_id      CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
    IN p_overdue_after INT    -- seconds
)
    MODIFIES SQL DATA
UPDATE production_order
SET status = 'published', published_at = UTC_TIMESTAMP(6), publications = publications + 1, attempts = 0,
    next_attempt_at = UTC_TIMESTAMP(6) + INTERVAL p_overdue_after SECOND
WHERE order_id = p_order_id AND status IN ('requested', 'published')
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 DROP PROCEDURE IF EXISTS `mark_stuck` */;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`admin`@`%` PROCEDURE `mark_stuck`(
    IN p_max_publications INT,
    IN p_limit            INT
)
    MODIFIES SQL DATA
BEGIN
    DECLARE v_now DATETIME(6) DEFAULT UTC_TIMESTAMP(6);
    DECLARE v_left INT DEFAULT p_limit;
    DECLARE v_publications INT;

    SELECT MIN(publications) INTO v_publications FROM production_order FORCE INDEX (production_order_due)
    WHERE publications >= p_max_publications;
    WHILE v_publications IS NOT NULL AND v_left > 0 DO
        UPDATE production_order FORCE INDEX (production_order_due) SET status = 'stuck', next_attempt_at = NULL
        WHERE publications = v_publications AND next_attempt_at <= v_now AND status IN ('requested', 'published')
        ORDER BY next_attempt_at LIMIT v_left;
        SET v_left = v_left - ROW_COUNT();
        SELECT MIN(publications) INTO v_publications FROM production_order FORCE INDEX (production_order_due)
        WHERE publications > v_publications;
    END WHILE;
    SELECT p_limit - v_left AS marked;
END
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 DROP PROCEDURE IF EXISTS `purge_checkout_outcomes` */;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`admin`@`%` PROCEDURE `purge_checkout_outcomes`(
    IN p_retention INT,    -- seconds
    IN p_limit     INT
)
    MODIFIES SQL DATA
BEGIN
    DELETE FROM checkout_outcome WHERE created_at < UTC_TIMESTAMP(6) - INTERVAL p_retention SECOND
    ORDER BY created_at LIMIT p_limit;
    SELECT ROW_COUNT() AS purged;
END
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 DROP PROCEDURE IF EXISTS `purge_idempotency_keys` */;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`admin`@`%` PROCEDURE `purge_idempotency_keys`(
    IN p_retention INT,    -- seconds
    IN p_limit     INT
)
    MODIFIES SQL DATA
BEGIN
    DELETE FROM idempotency_key WHERE created_at < UTC_TIMESTAMP(6) - INTERVAL p_retention SECOND
    ORDER BY created_at LIMIT p_limit;
    SELECT ROW_COUNT() AS purged;
END
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
/*!50003 SET sql_mode              = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION' */ ;
/*!50003 DROP PROCEDURE IF EXISTS `restock` */;
/*!50003 SET @saved_cs_client      = @@character_set_client */ ;
/*!50003 SET @saved_cs_results     = @@character_set_results */ ;
/*!50003 SET @saved_col_connection = @@collation_connection */ ;
/*!50003 SET character_set_client  = utf8mb4 */ ;
/*!50003 SET character_set_results = utf8mb4 */ ;
/*!50003 SET collation_connection  = utf8mb4_general_ci */ ;
DELIMITER ;;
CREATE DEFINER=`admin`@`%` PROCEDURE `restock`(
    IN p_order_id       CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin,
    IN p_slug           VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    IN p_callback_token VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin
)
    MODIFIES SQL DATA
restock: BEGIN
    DECLARE v_product_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin DEFAULT NULL;
    DECLARE v_quantity BIGINT;
    DECLARE v_added BOOLEAN DEFAULT FALSE;
    DECLARE v_stock BIGINT;

    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        ROLLBACK;
        RESIGNAL;
    END;

    SELECT product_id, quantity INTO v_product_id, v_quantity
    FROM production_order JOIN product USING (product_id)
    WHERE order_id = p_order_id AND slug = p_slug AND SHA2(callback_token, 256) = SHA2(p_callback_token, 256);
    IF v_product_id IS NULL THEN
        LEAVE restock;
    END IF;

    START TRANSACTION;
    UPDATE production_order SET status = 'arrived', arrived_at = UTC_TIMESTAMP(6), next_attempt_at = NULL
    WHERE order_id = p_order_id AND status <> 'arrived';
    IF ROW_COUNT() = 1 THEN
        UPDATE product SET stock = stock + v_quantity WHERE product_id = v_product_id;
        SET v_added = TRUE;
    END IF;
    SELECT stock INTO v_stock FROM product WHERE product_id = v_product_id;
    COMMIT;

    SELECT v_added AS added, v_stock AS stock;
END
;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
/*!50003 SET character_set_client  = @saved_cs_client */ ;
/*!50003 SET character_set_results = @saved_cs_results */ ;
/*!50003 SET collation_connection  = @saved_col_connection */ ;
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
/*!40101 SET CHARACTER_SET_RESULTS=@OLD_CHARACTER_SET_RESULTS */;
/*!40101 SET COLLATION_CONNECTION=@OLD_COLLATION_CONNECTION */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed

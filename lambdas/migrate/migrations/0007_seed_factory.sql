-- The factory of the first product.
INSERT IGNORE INTO factory (factory_id, name) VALUES ('FF-500293', '부산도너츠 공장')

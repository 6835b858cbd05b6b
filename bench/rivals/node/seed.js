// The seed's design: express behind serverless-http, a connection per request, the stock read and then written.
// SEED_POOL=1 keeps the connection instead, which the seed did not.
import express from "express";
import mysql from "mysql2/promise";
import serverless from "serverless-http";

const GET_PRODUCT =
  "SELECT product_id, sku, name, price, stock, factory_id FROM product WHERE sku = 'CP-502101'";
const SET_STOCK = "UPDATE product SET stock = ? WHERE product_id = ?";

export function handler(database) {
  const pool = process.env.SEED_POOL && mysql.createPool({ ...database, connectionLimit: 1 });

  async function connectDb(req, res, next) {
    req.conn = pool ? await pool.getConnection() : await mysql.createConnection(database);
    // The seed left the connection of a purchase open. That would soon use up the server's.
    req.done = () => (pool ? req.conn.release() : req.conn.end());
    next();
  }

  const app = express();
  app.use(express.json());

  app.get("/product/donut", connectDb, async (req, res) => {
    const [result] = await req.conn.query(GET_PRODUCT);
    await req.done();
    if (result.length > 0) {
      return res.status(200).json(result[0]);
    }
    return res.status(400).json({ message: "상품 없음" });
  });

  app.post("/checkout", connectDb, async (req, res) => {
    const [result] = await req.conn.query(GET_PRODUCT);
    if (result.length === 0) {
      await req.done();
      return res.status(400).json({ message: "상품 없음" });
    }
    const product = result[0];
    if (product.stock >= 0 && product.stock >= req.body.MessageAttributeProductCnt) {
      const stock = product.stock - req.body.MessageAttributeProductCnt;
      await req.conn.query(SET_STOCK, [stock, product.product_id]);
      await req.done();
      return res.status(200).json({ message: `구매 완료! 남은 재고: ${stock}` });
    }
    await req.done();
    return res.status(200).json({ message: `구매 실패! 남은 재고: ${product.stock}` });
  });

  app.use((req, res) => res.status(404).json({ error: "Not Found" }));
  return serverless(app);
}

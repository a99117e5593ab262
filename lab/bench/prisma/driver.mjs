// Does what each line of standard input says, and answers each with a line. Times are taken here, so that the answer's way
// to the other process is in none of them.
import { createInterface } from "node:readline";
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "./client/index.js";

// Connections are kept, as the other sides keep theirs; pg's default closes what was idle for 10 s.
const pool = { connectionString: process.env.DATABASE_URL, max: Number(process.env.POOL), idleTimeoutMillis: 0 };

// The adapter sends statements without a name, unless it is told names for them.
const names = new Map();
const named = ({ sql }) => {
  if (!names.has(sql)) names.set(sql, `p${names.size}`);
  return names.get(sql);
};
const adapter = new PrismaPg(pool, process.env.NAMED === "yes" ? { statementNameGenerator: named } : {});
const prisma = new PrismaClient({ adapter });

// Nobody is to be refused where times are taken.
const patient = { maxWait: 60_000, timeout: 60_000 };

const operations = {
  read: (id) => prisma.account.findUnique({ where: { id } }),
  insert: (id) => prisma.entry.create({ data: { account: id, amount: 1, note: "paid in" }, select: { id: true } }),
  transaction: (id) => prisma.$transaction((tx) => payIn(tx, id), patient),
};

async function payIn(tx, id) {
  const { balance } = await tx.account.findUnique({ where: { id } });
  await tx.account.update({ where: { id }, data: { balance: balance + 1 }, select: { id: true } });
}

// batch is callers that do one operation each, and then count among them, which are timed.
async function batch({ op, callers, count }) {
  const all = (each) => Promise.all(Array.from({ length: callers }, (_, caller) => each(caller + 1)));
  await all(operations[op]);
  const cpu = process.cpuUsage();
  const began = performance.now();
  await all(async (id) => {
    for (let i = 0; i < count / callers; i++) await operations[op](id);
  });
  const ms = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, cpu: (user + system) / 1000 };
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = await batch(command);
  } catch (e) {
    answer = { error: `${e.code ?? e.name}: ${e.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await prisma.$disconnect();

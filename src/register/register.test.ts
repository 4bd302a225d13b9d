import { registerContract } from "../../test/contracts/register.ts";
import { MemoryRegister } from "./memory.ts";
import type { Register } from "./register.ts";
import { WitnessServer } from "./witness.ts";
import { WitnessRegister } from "./witness-client.ts";

registerContract("memory", async () => {
  const register = new MemoryRegister();
  return { open: async () => register, close: () => register.close() };
});

registerContract("witness", async () => {
  const server = new WitnessServer({ host: "127.0.0.1", port: 0 });
  const port = await server.listen();
  const clients: Register[] = [];
  return {
    open: async () => {
      const client = new WitnessRegister({ url: `http://127.0.0.1:${port}`, timeoutMs: 10_000 });
      clients.push(client);
      return client;
    },
    close: async () => {
      await Promise.all(clients.map((client) => client.close()));
      await server.close();
    },
  };
});

// `npm run bench`: a short form of every benchmark but the gateway's, about six minutes in all. What is refused because the
// machine does something else is said, and the others go on.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const SHORT = [
  ["pick.ts", "grpc-js", "BalancedPool", "roundRobin", "adaptive"],
  ["calls.ts", "--rounds", "2", "rollcall", "dispatch", "BalancedPool"],
  ["updates.ts"],
  ["propagation.ts", "--rounds", "6"],
  ["watches.ts", "--watches", "200", "--changes", "50"],
];

for (const [program = "", ...args] of SHORT) {
  process.stdout.write(`\n## ${program.replace(".ts", "")}\n\n`);
  const file = fileURLToPath(new URL(program, import.meta.url));
  const flags = ["--conditions=@rollcall/source", "--expose-gc"];
  const { status } = spawnSync(process.execPath, [...flags, file, ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (status !== 0) {
    process.stdout.write(`${program}: not all of it could be told (exit code ${status})\n`);
    process.exitCode = 1;
  }
}

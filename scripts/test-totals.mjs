// Adds up what the last test runs of all packages reported, as one closing line. Exits 1 if a test failed or none ran.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const totals = { passed: 0, failed: 0, skipped: 0 };
for (const file of globSync("{packages,apps}/*/.cache/test-results/*.json", { cwd: root })) {
  const report = JSON.parse(readFileSync(join(root, file), "utf8"));
  totals.passed += report.numPassedTests;
  totals.failed += report.numFailedTests;
  totals.skipped += report.numPendingTests + report.numTodoTests;
}
process.stdout.write(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped\n`);
if (totals.passed === 0 || totals.failed > 0) process.exit(1);

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A throw-away certificate for this name, as an internal authority would issue it, and its key. Needs `openssl`. */
export function certificateFor(name: string): { readonly key: Buffer; readonly cert: Buffer } {
  const folder = mkdtempSync(join(tmpdir(), "rollcall-tls-"));
  const at = (file: string): string => join(folder, file);
  try {
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"].concat(
        ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`],
        ["-keyout", at("key.pem"), "-out", at("cert.pem")],
      ),
      { stdio: "pipe" },
    );
    return { key: readFileSync(at("key.pem")), cert: readFileSync(at("cert.pem")) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

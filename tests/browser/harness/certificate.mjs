// A certificate that nobody has signed but itself, for who speaks TLS in a test.

import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Makes one for these names: `cert.pem` and `key.pem` in this directory. */
export function makeCertificate(directory, names = ["localhost"]) {
  const [cert, key] = ["cert.pem", "key.pem"].map((name) => join(directory, name));
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
    "-subj", `/CN=${names[0]}`, "-addext", `subjectAltName=${names.map((name) => `DNS:${name}`).join(",")}`, "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { cert, key };
}

/** The flag by which Chromium takes this certificate, and no other that it would not take anyway. */
export function trusting(cert) {
  const key = new X509Certificate(readFileSync(cert)).publicKey.export({ type: "spki", format: "der" });
  return `--ignore-certificate-errors-spki-list=${createHash("sha256").update(key).digest("base64")}`;
}

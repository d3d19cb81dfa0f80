// An nginx of a test's own that stands before a Porthole: TLS, and a path below which it is shown.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./browser.mjs";
import { makeCertificate } from "./certificate.mjs";
import { freePort } from "./porthole.mjs";

const PROGRAM = "/usr/sbin/nginx";

/** What docs/OPERATING.md tells people to write; where the path is taken off, with a slash at the end. */
const config = (directory, port, path, upstream, takesOff) => `
daemon off;
user root;
worker_processes 1;
pid ${directory}/pid;
error_log ${directory}/log;
events {}
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${directory}/cert.pem;
    ssl_certificate_key ${directory}/key.pem;
    location ${path}/ {
      proxy_pass http://${upstream}${takesOff ? "/" : ""};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 1h;
      client_max_body_size 0;
    }
  }
}
`;

export class Nginx {
  #child;

  constructor(directory, port, path) {
    this.directory = directory;
    this.port = port;
    this.path = path;
    this.url = `https://localhost:${port}${path}`;
  }

  /** A place for one that is not started yet; `null` where this machine has none. */
  static async place(path) {
    if (!existsSync(PROGRAM)) {
      console.error("SKIPPED: this machine has no nginx; `make setup-test` installs it");
      return null;
    }
    const nginx = new Nginx(mkdtempSync(join(tmpdir(), "nginx-")), await freePort(), path);
    makeCertificate(nginx.directory);
    return nginx;
  }

  /** Starts it before who listens at this address. */
  async start(upstream, { takesOff = false } = {}) {
    const file = join(this.directory, "nginx.conf");
    writeFileSync(file, config(this.directory, this.port, this.path, upstream, takesOff));
    this.#child = spawn(PROGRAM, ["-p", this.directory, "-c", file, "-e", join(this.directory, "log")], { stdio: "inherit" });
    await until("nginx runs", () => {
      if (this.#child.exitCode !== null) throw new Error(readFileSync(join(this.directory, "log"), "utf8"));
      return existsSync(join(this.directory, "pid"));
    });
  }

  async end() {
    const ended = new Promise((end) => this.#child.once("exit", end));
    this.#child.kill("SIGTERM");
    await ended;
  }

  /** Ends it, and removes its files. */
  async stop() {
    if (this.#child?.exitCode === null) await this.end();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

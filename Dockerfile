# Both demo applications from one file: `docker build --target lorem-server .` or `--target lorem-client`.
# It names no package registry: npm asks the one that the base image is configured for.
ARG NODE_IMAGE=node:24-slim

# Only the manifests, so that a change in the source does not install everything again.
FROM ${NODE_IMAGE} AS manifests
WORKDIR /app
COPY package.json package-lock.json ./
COPY packages packages
COPY apps apps
COPY bench/package.json bench/
RUN find packages apps -type f ! -name package.json -delete && find packages apps -type d -empty -delete

# What runs needs no development dependency, and nothing here an install script.
FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY --from=manifests /app ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY --from=manifests /app ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.base.json ./
COPY packages packages
COPY apps apps
RUN node node_modules/typescript/bin/tsc -b apps/lorem-server/tsconfig.lib.json apps/lorem-client/tsconfig.lib.json \
  && rm -rf packages/*/node_modules apps/*/node_modules packages/*/src apps/*/src

FROM ${NODE_IMAGE} AS runtime
ENV NODE_ENV=production PORT=8080
WORKDIR /app
COPY --from=dependencies /app ./
COPY --from=build /app/packages packages
COPY --from=build /app/apps apps
USER node
EXPOSE 8080
# The slim image has no curl. While the application drains it answers 503, which is "unhealthy", as it should be.
HEALTHCHECK --interval=5s --timeout=2s --start-period=20s --retries=2 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]

# Exec form, and node itself rather than npm: SIGTERM reaches the application.
FROM runtime AS lorem-server
CMD ["node", "apps/lorem-server/dist/main.js"]

FROM runtime AS lorem-client
CMD ["node", "apps/lorem-client/dist/main.js"]

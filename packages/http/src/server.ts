export { ADVERTISE_HOST, type AdvertisedHostOptions, type NetworkAddress, advertisedHost } from "./advertised-host.ts";
export { type AnnounceOptions, type Announced, DEFAULT_DRAIN_MS, announce, placeOf } from "./announce.ts";
export { type Announcement, type AnnouncementOptions, createAnnouncement } from "./announcement.ts";
export { type IncomingRequest, type RequestDeadline, isRetried, requestDeadline, whileServing } from "./call-chain.ts";
export { type FailureAnswer, failureAnswer } from "./failure-answer.ts";
export { type LoadReporter, loadReporter } from "./load-reporter.ts";
export { type HttpServer, type ServerDrain, isDraining, serverDrain } from "./server-drain.ts";
export { type ShutdownSignal, type ShutdownSteps, onShutdownSignal } from "./shutdown-signals.ts";

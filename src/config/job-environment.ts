import type { Config, Environment } from "./config.ts";
import { variables } from "./variables.ts";

/** Told by the service at the end of a job, so that its commands must not tell as well. */
const toldByService = [
  variables.onSuccessUrl,
  variables.onFailureUrl,
  variables.onSuccessCommand,
  variables.onFailureCommand,
];

/**
 * The environment of the service's jobs: ours, with what was given to the service by flags. A URL
 * holds a password, which no command line may show.
 */
export function jobEnvironment(
  config: Readonly<Config>,
  environment: Environment = process.env,
): Environment {
  const changed: Record<string, string | undefined> = { ...environment };
  for (const { name } of toldByService) {
    delete changed[name];
    delete changed[`${name}_FILE`];
  }
  if (config.databaseUrlFrom === "flag") {
    changed[variables.databaseUrl.name] = config.databaseUrl;
    delete changed[`${variables.databaseUrl.name}_FILE`];
  }
  changed[variables.profile.name] = config.profile;
  return changed;
}

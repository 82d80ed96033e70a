import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { isSilence, jitteredPause, retryStrategy } from "../../../src/storage/s3-retries.ts";

const silence = () => Object.assign(new Error("too long"), { name: "TimeoutError" });
const refused = () => Object.assign(silence(), { code: "ECONNREFUSED" });

type Failure = Parameters<ReturnType<typeof retryStrategy>["refreshRetryTokenForRetry"]>[1];

suite("attempts at a request of S3", () => {
  const strategy = retryStrategy({ attempts: 5, attemptsInSilence: 2, pauseMs: 100 });

  /** How often a request is made that always fails like this. */
  async function attempts(
    error: Error,
    errorType: "TRANSIENT" | "THROTTLING" | "CLIENT_ERROR" | "SERVER_ERROR",
  ): Promise<number> {
    let token = await strategy.acquireInitialRetryToken("");
    for (let made = 1; ; made += 1) {
      try {
        const failure = { error, errorType } as Failure;
        token = await strategy.refreshRetryTokenForRetry(token, failure);
      } catch {
        return made;
      }
    }
  }

  test("are five for what may pass, two in silence, one for what stays as it is", async () => {
    assert.equal(await attempts(new Error("503"), "TRANSIENT"), 5);
    assert.equal(await attempts(new Error("SlowDown"), "THROTTLING"), 5);
    assert.equal(await attempts(refused(), "TRANSIENT"), 5);
    assert.equal(await attempts(silence(), "TRANSIENT"), 2);
    assert.equal(await attempts(new Error("AccessDenied"), "CLIENT_ERROR"), 1);
  });

  test("have pauses between them that grow, have a bound, and are by chance", () => {
    for (let attempt = 1; attempt <= 20; attempt += 1) {
      const longest = Math.min(100 * 2 ** (attempt - 1), 10_000);
      const pauses = Array.from({ length: 50 }, () => jitteredPause(attempt, 100));
      assert.ok(pauses.every((pause) => pause >= longest / 2 && pause <= longest));
      assert.ok(new Set(pauses).size > 1);
    }
  });

  test("a connection that was cut is not silence, though the SDK names both alike", () => {
    assert.equal(isSilence(silence()), true);
    assert.equal(isSilence(Object.assign(silence(), { code: "ETIMEDOUT" })), true);
    assert.equal(isSilence(refused()), false);
    assert.equal(isSilence(new Error("TimeoutError")), false);
  });
});

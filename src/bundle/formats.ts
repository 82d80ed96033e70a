/**
 * The formats that row schemas use. PostgreSQL's dates are wider than RFC 3339: `infinity`,
 * years beyond 9999, and `BC`.
 */
const time = "\\d{2}:\\d{2}:\\d{2}(?:\\.\\d{1,6})?";
const zone = "[+-]\\d{2}(?::\\d{2}){0,2}";
const day = "\\d{4,7}-\\d{2}-\\d{2}";

export const rowFormats: Readonly<Record<string, RegExp>> = {
  uuid: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  "postgres-date": new RegExp(`^(?:${day}(?: BC)?|-?infinity)$`),
  "postgres-timestamp": new RegExp(`^(?:${day}T${time}(?: BC)?|-?infinity)$`),
  "postgres-timestamptz": new RegExp(`^(?:${day}T${time}${zone}(?: BC)?|-?infinity)$`),
};

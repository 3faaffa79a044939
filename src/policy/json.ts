/** JSON as it comes from an API server: raw, so that fields which no type knows survive. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json | undefined
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The object, or an empty one where something else stands. */
export function objectAt(value: Json | undefined, key: string): JsonObject {
  const found = isObject(value) ? value[key] : undefined
  return isObject(found) ? found : {}
}

/** All entries of a list; none where no list stands. */
export function listAt(value: Json | undefined, key: string): readonly Json[] {
  const found = isObject(value) ? value[key] : undefined
  return Array.isArray(found) ? found : []
}

/** The objects of a list; none where no list stands. */
export function objectsAt(value: Json | undefined, key: string): readonly JsonObject[] {
  return listAt(value, key).filter(isObject)
}

/** The texts of a list, in their order; none where no list stands. */
export function stringsAt(value: Json | undefined, key: string): readonly string[] {
  return listAt(value, key).filter(each => typeof each === 'string')
}

/** The text, or undefined where something else stands. */
export function textAt(value: Json | undefined, key: string): string | undefined {
  const found = isObject(value) ? value[key] : undefined
  return typeof found === 'string' ? found : undefined
}

/** The number, or undefined where something else stands. */
export function numberAt(value: Json | undefined, key: string): number | undefined {
  const found = isObject(value) ? value[key] : undefined
  return typeof found === 'number' ? found : undefined
}

/** Names and texts of a map such as labels; entries that are no text are left out. */
export function textsAt(value: Json | undefined, key: string): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(objectAt(value, key)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

/** Equal as JSON: the order of members does not matter, the order of a list does. */
export function sameJson(left: Json | undefined, right: Json | undefined): boolean {
  if (left === right) return true
  if (Array.isArray(left)) return Array.isArray(right) && left.length === right.length && left.every((each: Json, index) => sameJson(each, right[index]))
  if (!isObject(left) || !isObject(right)) return false
  const names = Object.keys(left)
  return names.length === Object.keys(right).length && names.every(name => Object.hasOwn(right, name) && sameJson(left[name], right[name]))
}

/** What an error of the system says it is, such as `ENOSPC`: errors of Node and our own carry it as `code`. */

export function errorCode(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** Addresses of machines, as they are given, shown and compared. */

export interface Address {
  /** Absent: every address, of both families; of IPv4 where the kernel has no IPv6. */
  readonly host?: string | undefined
  readonly port: number
}

/** As in a URL: an IPv6 address stands in brackets. */
export function hostPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** The host of a URL as sockets take it: an IPv6 address without its brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replaceAll(/^\[|\]$/g, '')
}

/** A socket that listens on both families shows IPv4 peers as `::ffff:10.0.0.1` (RFC 4291, 2.5.5.2). @returns them as IPv4, all others as they are */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
}

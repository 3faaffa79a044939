/** What is run, and what the own fixture must reach by itself for a comparison to mean anything. */

import type { SuiteVersion } from './suite.ts'

export interface ServerSet {
  readonly name: string
  readonly target: 'fixture' | 'everything'
  readonly suite: SuiteVersion
  readonly args: readonly string[]
  /** Without the recorder. */
  readonly atLeast: { readonly passed: number; readonly failed: number }
}

export interface ClientSet {
  readonly name: string
  readonly revision: '2025-11-25' | '2026-07-28'
  /** Where the recorder stands: it has taken over the server's address, as in a cluster, or it has one of its own. */
  readonly place: 'there' | 'elsewhere'
  /** Without the recorder. */
  readonly atLeast: { readonly passed: number; readonly failed: number }
}

const RUNS = [
  { name: '2025-11-25', suite: '0.2', args: ['--requirements', '2025-11-25'] },
  { name: '2026-07-28', suite: '0.2', args: ['--requirements', '2026-07-28'] },
  { name: '0.1.16 all', suite: '0.1', args: ['--suite', 'all'] },
] as const

/** The 30 that fail are unscored: tasks, an extension that the SDK's server does not have. */
const FIXTURE = [{ passed: 84, failed: 0 }, { passed: 164, failed: 30 }, { passed: 44, failed: 0 }] as const

export const SERVER_SETS: readonly ServerSet[] = RUNS.flatMap((run, at) => [
  { ...run, name: `fixture ${run.name}`, target: 'fixture', atLeast: FIXTURE[at] ?? { passed: 0, failed: 0 } },
  // Knows nothing of the suite's names, so most fails: what counts is that it fails alike.
  { ...run, name: `server-everything ${run.name}`, target: 'everything', atLeast: { passed: 1, failed: Infinity } },
])

/** The 9 that fail are unscored: DPoP and workload identity, which this client does not do. */
const CLIENT = { '2025-11-25': { passed: 341, failed: 9 }, '2026-07-28': { passed: 517, failed: 9 } } as const

export const CLIENT_SETS: readonly ClientSet[] = (['2025-11-25', '2026-07-28'] as const).flatMap(revision =>
  (['there', 'elsewhere'] as const).map(place => ({ name: `client ${revision}, recorder ${place === 'there' ? "at the server's address" : 'at another address'}`, revision, place, atLeast: CLIENT[revision] })),
)

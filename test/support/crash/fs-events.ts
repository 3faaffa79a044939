/** Operations on files as `watched-fs.ts` writes them down. Descriptors are those of the process, the same in all its threads. */

export type FsEvent =
  | (Change & { readonly step: 'begin'; readonly op: string })
  /** It ended well, and its caller has not been told yet. `fd` of what was opened. */
  | { readonly step: 'end'; readonly op: string; readonly fd?: number }
  | { readonly step: 'close'; readonly fd: number }

export type Change =
  | { readonly does: 'open'; readonly path: string; readonly create: boolean; readonly truncate: boolean }
  /** `synced`: durable when it has ended. */
  | ({ readonly does: 'write'; readonly fd: number; readonly position: number; readonly synced: boolean } & ({ readonly zeros: number } | { readonly data: string }))
  | { readonly does: 'sync'; readonly fd: number }
  | { readonly does: 'link' | 'rename'; readonly from: string; readonly to: string }
  | { readonly does: 'unlink' | 'mkdir'; readonly path: string }

/** A SessionPolicy: what an admin writes. `crds/` describes the same for the API server; a test compares the two. */

export const GROUP = 'steno.dev'
export const VERSION = 'v1alpha1'
export const KIND = 'SessionPolicy'
export const PLURAL = 'sessionpolicies'

export const CAPTURES = ['Auto', 'Port', 'Redirect'] as const
export const DURABILITIES = ['Local', 'OffPod'] as const
export const FAILURES = ['Block', 'Allow'] as const
export const OPT_OUTS = ['Refuse', 'Allow'] as const
export const DIRECT_PORTS = ['Close', 'Open'] as const

/** How traffic gets to the recorder. `Auto`: the first that the namespace and the port allow. */
export type Capture = (typeof CAPTURES)[number]
/** When a message may pass: written to local disk, or accepted by the sink. */
export type Durability = (typeof DURABILITIES)[number]
/** What happens to messages when recording is impossible. */
export type OnFailure = (typeof FAILURES)[number]
/** Whether a pod may ask not to be recorded. */
export type OptOut = (typeof OPT_OUTS)[number]
/** What becomes of ports that lead past the recorder. */
export type DirectPort = (typeof DIRECT_PORTS)[number]

export const OTHERS = ['Record', 'Refuse'] as const
export const REPAIRS = ['Report', 'Restart'] as const
export const UNRECORDED = ['Allow', 'Refuse'] as const

/** What is done about pods that run without their recorder, or with one of an earlier policy. */
export type Repair = (typeof REPAIRS)[number]
/** What becomes of a pod that should be recorded and comes without its recorder. */
export type Unrecorded = (typeof UNRECORDED)[number]

/** What becomes of somebody who reaches for a recorded pod and is not named in `access.connect`. */
export type Others = (typeof OTHERS)[number]

/** Most ports of a policy: each takes a listener of its own. */
export const MAX_PORTS = 8
export const MAX_SUBJECTS = 32
/** Of IAM, for a role. */
export const MAX_POLICY_ARNS = 10

/** Somebody as the API server knows them. */
export interface Subject {
  readonly kind: 'Group' | 'User'
  readonly name: string
  /** ARN of the IAM role whose group it is: EKS puts who takes that role on into it. */
  readonly role?: string
}

export interface SelectorTerm {
  readonly key: string
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'
  readonly values: readonly string[]
}

/** As `metav1.LabelSelector`: all must hold; an empty one selects everything. */
export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>
  readonly matchExpressions: readonly SelectorTerm[]
}

export interface FirehoseSink {
  readonly stream: string
  readonly region: string
}

export interface PolicySpec {
  readonly selector: LabelSelector
  /** Names and numbers. Empty: found by convention (`src/inject/choose-ports.ts`). */
  readonly ports: readonly (string | number)[]
  readonly capture: Capture
  readonly durability: Durability
  readonly onFailure: OnFailure
  readonly optOut: OptOut
  readonly directPort: DirectPort
  readonly unrecorded: Unrecorded
  readonly repair: Repair
  /** Who may reach the recorded pods through the API server. */
  readonly connect: readonly Subject[]
  /** Who may see recordings of this policy. */
  readonly view: readonly Subject[]
  readonly others: Others
  /** Managed policies of the role that the operator makes for the pods' own calls to AWS; none, no role. */
  readonly policyArns: readonly string[]
  /** Where recordings go; the installation's own when absent. */
  readonly sink?: FirehoseSink
}

/** What a recorder goes by. */
export type RecorderSpec = Pick<PolicySpec, 'durability' | 'onFailure' | 'sink'>

export interface SessionPolicy {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly generation: number
  readonly spec: PolicySpec
}

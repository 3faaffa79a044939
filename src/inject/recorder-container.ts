/** The recorder as a container, with its volumes. Satisfies the pod security level `restricted`. */

import { POLICY_FILE } from '../policy/compile.ts'
import type { JsonObject } from '../policy/json.ts'
import type { EffectivePolicy } from '../policy/merge.ts'
import { configMapName } from '../policy/own-name.ts'
import type { Capture } from '../policy/session-policy.ts'
import { ADMIN_PORT, RECORDER, RECORDER_ADDRESS, VOLUMES } from './marks.ts'
import type { InjectedPort, SidecarMode } from './marks.ts'
import type { PodFacts } from './pod-facts.ts'
import type { DefaultSink, InjectorSettings } from './settings.ts'

/** Of the image. No other is asked for, since some clusters assign uids (OpenShift). */
const UID = 65_532
/** What the kubelet shows of a container that has ended; it makes the file, writable for every uid. */
const TERMINATION_LOG = '/dev/termination-log'
const SPOOL_PATH = '/var/lib/steno'
const ARCHIVE_PATH = '/var/lib/steno-archive'
/** What the cluster says and may change while the recorder runs. */
const POD_INFO_PATH = '/var/run/steno'
const POLICIES_FOLDER = 'policies'
const LABELS_FILE = 'labels'
const KEY_PATH = '/var/run/secrets/steno.dev/key'
const KEY_FILE = 'key'
const AWS_TOKEN_PATH = '/var/run/secrets/steno.dev/aws'
/** What stands here keeps the ServiceAccount admission plugin from mounting the app's API token into the recorder. */
const API_TOKEN_PATH = '/var/run/secrets/kubernetes.io/serviceaccount'
/** An hour is long enough for a role's session, and short for a thief. The kubelet renews it at 80 %. */
const AWS_TOKEN_SECONDS = 3600
/** The recorder's uid is not the file's owner. What keeps others out is that only the recorder mounts it. */
const FILE_MODE = 0o644
/** What the recorder's files may take beside the spool's limit: the reserve, positions, and a file that is being prepared. */
const SPOOL_MARGIN_MIB = 64
/** Of the memory limit, what the JavaScript heap may have. Buffers, the shipper's thread and the program take the rest. */
const HEAP_SHARE = 0.5

export interface RecorderParts {
  readonly container: JsonObject
  readonly volumes: readonly JsonObject[]
}

export interface RecorderInput {
  readonly facts: PodFacts
  readonly policy: EffectivePolicy
  readonly settings: InjectorSettings
  readonly mode: SidecarMode
  readonly capture: Exclude<Capture, 'Auto'>
  readonly ports: readonly InjectedPort[]
  /** The cluster assigns uids itself. */
  readonly assignedUids: boolean
  /** Role that it takes on in AWS. */
  readonly roleArn: string | undefined
  /** The policies as recorders read them, in the order of their names. */
  readonly compiled: readonly string[]
  /** Short digest of a text. */
  readonly digest: (text: string) => string
}

/** Every field that the API server would fill in is written out, so that the container compares equal on the next run. */
export function recorderParts(input: RecorderInput): RecorderParts {
  const { settings, policy } = input
  const sink: DefaultSink = policy.sink === undefined ? settings.sink : { firehose: policy.sink }
  const memory = quantity(settings.memoryMib)
  const spool = quantity(settings.spoolMib + SPOOL_MARGIN_MIB)
  const archive = 'emptyDir' in sink ? sink.emptyDir.sizeMib + SPOOL_MARGIN_MIB : 0
  const disk = quantity(settings.spoolMib + SPOOL_MARGIN_MIB + archive)
  const { cpu, cpuLimit } = input.facts.guaranteed ? { cpu: settings.guaranteedCpu, cpuLimit: settings.guaranteedCpu } : settings
  const container: JsonObject = {
    name: RECORDER,
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    ...(input.mode === 'native' ? { restartPolicy: 'Always' } : {}),
    args: recorderArgs(input, sink),
    env: recorderEnv(input, sink),
    // Named ports are those that were taken over; the recorder answers under the name that Services use.
    ports: [...input.ports.map(({ name, listen }) => ({ ...(name === undefined ? {} : { name }), containerPort: listen, protocol: 'TCP' })), { name: 'steno-admin', containerPort: ADMIN_PORT, protocol: 'TCP' }],
    resources: withoutPooled({ requests: { cpu, memory, 'ephemeral-storage': disk }, limits: { ...(cpuLimit === undefined ? {} : { cpu: cpuLimit }), memory, 'ephemeral-storage': disk } }, input.facts.pooled),
    // The kubelet starts no other container before this has ended. A startup probe would do the same a second later: it is looked at once a second, and its success waits for the next list of containers.
    lifecycle: { postStart: { exec: { command: ['steno', 'ready', `--admin=127.0.0.1:${ADMIN_PORT}`] } } },
    readinessProbe: { httpGet: { path: '/readyz', port: ADMIN_PORT, scheme: 'HTTP' }, periodSeconds: 5, timeoutSeconds: 2, successThreshold: 1, failureThreshold: 3 },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      // A pod may ask for root for its own containers; the recorder does not follow.
      ...(input.assignedUids ? {} : { runAsUser: UID, runAsGroup: UID }),
      seccompProfile: { type: 'RuntimeDefault' },
    },
    terminationMessagePath: TERMINATION_LOG,
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { name: VOLUMES.spool, mountPath: SPOOL_PATH },
      { name: VOLUMES.noApiToken, mountPath: API_TOKEN_PATH, readOnly: true },
      { name: VOLUMES.policy, mountPath: POD_INFO_PATH, readOnly: true },
      ...(settings.keySecret === undefined ? [] : [{ name: VOLUMES.key, mountPath: KEY_PATH, readOnly: true }]),
      ...('firehose' in sink ? [{ name: VOLUMES.awsToken, mountPath: AWS_TOKEN_PATH, readOnly: true }] : [{ name: VOLUMES.archive, mountPath: ARCHIVE_PATH }]),
    ],
  }
  return {
    container,
    volumes: [
      { name: VOLUMES.spool, emptyDir: { sizeLimit: spool } },
      { name: VOLUMES.noApiToken, emptyDir: { sizeLimit: '1Mi' } },
      policyVolume(input),
      // A namespace without it is recorded all the same.
      ...(settings.keySecret === undefined ? [] : [{ name: VOLUMES.key, secret: { secretName: settings.keySecret, defaultMode: FILE_MODE, optional: true, items: [{ key: KEY_FILE, path: KEY_FILE }] } }]),
      'firehose' in sink
        ? { name: VOLUMES.awsToken, projected: { defaultMode: FILE_MODE, sources: [{ serviceAccountToken: { audience: 'sts.amazonaws.com', expirationSeconds: AWS_TOKEN_SECONDS, path: 'token' } }] } }
        : { name: VOLUMES.archive, ...('claim' in sink ? { persistentVolumeClaim: { claimName: sink.claim } } : { emptyDir: { sizeLimit: quantity(archive) } }) },
    ],
  }
}

/**
 * Where CPU or memory is the pod's as a whole, a container that asks for more than is left would make the API server refuse the pod; and it fills in
 * for the pod what it does not say from what its containers do.
 */
export function withoutPooled({ requests, limits }: Readonly<Record<'requests' | 'limits', Readonly<Record<string, string>>>>, pooled: boolean): JsonObject {
  // The API server does not keep an empty list.
  const own = (list: string, amounts: Readonly<Record<string, string>>): JsonObject => {
    const left = Object.entries(amounts).filter(([name]) => !(pooled && (name === 'cpu' || name === 'memory')))
    return left.length === 0 ? {} : { [list]: Object.fromEntries(left) }
  }
  return { ...own('requests', requests), ...own('limits', limits) }
}

/** What the operator writes for each policy, kept up to date by the kubelet, and the labels of the pod. A pod starts without an operator. */
function policyVolume({ policy, digest }: RecorderInput): JsonObject {
  return {
    name: VOLUMES.policy,
    projected: {
      defaultMode: FILE_MODE,
      sources: [
        ...policy.names.map(name => ({ configMap: { name: configMapName(name, digest), optional: true, items: [{ key: POLICY_FILE, path: `${POLICIES_FOLDER}/${name}/${POLICY_FILE}` }] } })),
        { downwardAPI: { items: [{ path: LABELS_FILE, fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.labels' } }] } },
      ],
    },
  }
}

function recorderArgs({ facts, policy, settings, ports, capture }: RecorderInput, sink: DefaultSink): string[] {
  return [
    'record',
    ...ports.map(({ listen, port }) => `--port=${listen}=${port}`),
    // What comes from anywhere else is led to the recorder.
    ...(capture === 'Redirect' ? [`--connect-from=${RECORDER_ADDRESS}`] : []),
    `--server-name=${facts.workload?.split('/')[1] ?? ports[0]?.name ?? 'mcp'}`,
    `--admin=*:${ADMIN_PORT}`,
    `--spool=${SPOOL_PATH}/spool`,
    `--spool-max=${settings.spoolMib}Mi`,
    `--policies=${POD_INFO_PATH}/${POLICIES_FOLDER}`,
    ...(settings.keySecret === undefined ? [] : [`--key-file=${KEY_PATH}/${KEY_FILE}`]),
    `--durability=${policy.durability === 'OffPod' ? 'off-pod' : 'local'}`,
    `--termination-log=${TERMINATION_LOG}`,
    ...('firehose' in sink ? [`--sink=firehose://${sink.firehose.stream}?region=${sink.firehose.region}`] : [`--archive=${ARCHIVE_PATH}`]),
    // The kubelet ends a pod whose volume grows over its limit; the recorder stops before that.
    ...('emptyDir' in sink ? [`--archive-max=${sink.emptyDir.sizeMib}Mi`] : []),
  ]
}

function recorderEnv({ facts, compiled, roleArn, settings }: RecorderInput, sink: DefaultSink): JsonObject[] {
  const field = (name: string, fieldPath: string): JsonObject => ({ name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } })
  return [
    field('STENO_POD', 'metadata.name'),
    field('STENO_NAMESPACE', 'metadata.namespace'),
    field('STENO_NODE', 'spec.nodeName'),
    ...(facts.workload === undefined ? [] : [{ name: 'STENO_WORKLOAD', value: facts.workload }]),
    { name: 'STENO_IMAGE', value: settings.image },
    { name: 'STENO_LABELS_FILE', value: `${POD_INFO_PATH}/${LABELS_FILE}` },
    // What it goes by from its first moment, and while there are no files. Kubernetes replaces $(NAME) in values.
    { name: 'STENO_POLICIES', value: JSON.stringify(compiled).replaceAll('$', '\\u0024') },
    { name: 'NODE_OPTIONS', value: `--max-old-space-size=${Math.floor(settings.memoryMib * HEAP_SHARE)}` },
    // For who reads there, by `kubectl exec POD -c steno-recorder -- steno list`.
    ...('firehose' in sink ? [] : [{ name: 'STENO_ARCHIVE', value: ARCHIVE_PATH }]),
    ...('firehose' in sink && roleArn !== undefined
      ? [
          { name: 'AWS_ROLE_ARN', value: roleArn },
          { name: 'AWS_WEB_IDENTITY_TOKEN_FILE', value: `${AWS_TOKEN_PATH}/token` },
        ]
      : []),
    ...('firehose' in sink && settings.awsEndpoint !== undefined ? [{ name: 'AWS_ENDPOINT_URL', value: settings.awsEndpoint }] : []),
  ]
}

/** As the API server writes it back, so that it compares equal on the next run. */
function quantity(mib: number): string {
  return mib % 1024 === 0 ? `${mib / 1024}Gi` : `${mib}Mi`
}

/**
 * The command line: names, flags and help of every command. What a command does is loaded only when it runs, so that `up` starts fast
 * and `list` loads no HTTP client.
 */

import { Argument, Command, CommanderError, Option } from 'commander'

import { LOG_LEVELS } from '../platform/log.ts'
import { QUERY_KINDS } from '../record/query.ts'
import { addExamples } from './examples.ts'
import type { DoctorAwsOptions } from './doctor/aws.ts'
import type { DoctorClusterOptions } from './doctor/cluster.ts'
import { reportFailure } from './failure.ts'
import { programName } from './io.ts'
import type { CliIo, ExitCode } from './io.ts'
import type { ListOptions } from './list.ts'
import { FORMATS } from './output.ts'
import type { OutputOptions } from './output.ts'
import type { ExportOptions } from './export.ts'
import type { FrameOptions } from './frame.ts'
import type { InjectOptions } from './inject.ts'
import type { OperateOptions } from './operate.ts'
import type { PlayOptions } from './play.ts'
import type { ReadyOptions } from './ready.ts'
import type { RecordOptions } from './record.ts'
import type { ShowOptions } from './show.ts'
import type { SourceOptions } from './source.ts'
import type { UpOptions } from './up.ts'
import type { VerifyOptions } from './verify.ts'
import { version } from './version.ts'

/** Runs one command. Never rejects, never exits: talk goes to `io.stderr`, the rest is the exit code. */
export async function runCli(argv: readonly string[], io: CliIo): Promise<ExitCode> {
  let code: ExitCode = 0
  const program = createProgram(io, result => (code = result))
  try {
    const [first, ...words] = argv
    if (first === COMPLETE) return await (await import('./completion/complete.ts')).runComplete(program, words, io)
    await program.parseAsync(argv, { from: 'user' })
    return code
  } catch (error) {
    // Commander has said its line already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    return reportFailure(error, io)
  }
}

const SHELLS = ['bash', 'zsh', 'fish']

/** What shells and kubectl ask for what may come next; no command, since the words that follow may look like options. */
const COMPLETE = '__complete'

/** The definition of the whole command line. @param done gets the exit code of a command that ran */
export function createProgram(io: CliIo, done: (code: ExitCode) => void): Command {
  const name = programName(io)
  const program = new Command(name)
    .description('Records the sessions of MCP servers, and reads, replays and verifies the recordings.')
    .version(version(), '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help of a command')
    .exitOverride()
    .configureOutput({
      writeOut: text => io.stdout.write(text),
      writeErr: text => io.stderr.write(text),
      outputError: (text, write) => write(text.trimEnd().endsWith(')') ? text : text.replace(/\n$/, ' (usage.invalid)\n')),
      getOutHelpWidth: () => io.stdout.columns || 80,
      getErrHelpWidth: () => io.stdout.columns || 80,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
  addUp(program, io, done)
  addReading(program, io, done)
  addProof(program, io, done)
  addCluster(program, io, done)
  addDoctor(program, io, done)
  addCompletion(program, io, done)
  addExamples(program)
  program.showHelpAfterError(`run '${name} --help' for help`)
  for (const command of program.commands) command.showHelpAfterError(`run '${name} ${command.name()} --help' for help`)
  return program
}

type Done = (code: ExitCode) => void

function addUp(program: Command, io: CliIo, done: Done): void {
  withRecording(
    program
      .command('up')
      .description('record an MCP server: put the recorder before it and keep the recordings in a folder')
      .requiredOption('--upstream <url>', 'where the MCP server is, like http://127.0.0.1:3001/mcp')
      .option('--listen <host:port>', 'where clients connect', '127.0.0.1:15080')
      .option('--admin <host:port>', 'health and metrics', '127.0.0.1:15090'),
  )
    .addOption(new Option('--on-failure <what>', 'when recording is impossible').choices(['block', 'allow']).default('block'))
    .option('--server-name <name>', 'name of the server in recordings (default: from the URL)')
    .option('--key-file <file>', 'key for the hashes of what is not kept (default: one per run)')
    .addOption(logLevelOption())
    .action(async (options: UpOptions) => done(await (await import('./up.ts')).runUp(options, io)))
}

function addReading(program: Command, io: CliIo, done: Done): void {
  withOutput(withSourceFlags(program.command('list').description('sessions, newest first')))
    .option('--workload <name>', 'only of this workload')
    .option('--tool <name>', 'only those that called this tool')
    .option('--errors', 'only those with errors')
    .option('--since <time>', 'only those seen since: 1h, 2d, or 2026-11-20T08:00:00Z')
    .option('--limit <count>', 'most to list', '100')
    .option('--after <id>', 'go on after this session')
    .option('-w, --watch', 'go on and show what changes')
    .action(async (options: ListOptions) => done(await (await import('./list.ts')).runList(options, io)))
  withOutput(withSourceFlags(program.command('show').argument('[id]', 'session, or the beginning of its name').description('summary and frames of a session')))
    .option('--grep <query>', 'only frames that match, like \'tool:search -kind:ntf error "some text"\'')
    .option('--kind <kind>', `only this kind: ${QUERY_KINDS.join(', ')}`)
    .option('--tool <name>', 'only calls of this tool')
    .option('--from <side>', 'only what the client, or the server, sent')
    .option('--paired', 'requests with their answers, one line each')
    .option('--all', 'every frame, nothing folded or left out')
    .action(async (id: string | undefined, options: ShowOptions) => done(await (await import('./show.ts')).runShow(id, options, io)))
  withOutput(withSourceFlags(program.command('frame').usage('[options] [id] <writer.seq>').argument('<names...>', 'session, then frame; SEQ alone where the session has one writer').description('one frame in full')))
    .option('--raw', 'only the body, exactly as it was recorded')
    .action(async (names: readonly string[], options: FrameOptions) => done(await (await import('./frame.ts')).runFrame(names, options, io)))
  withSourceFlags(program.command('play').argument('[id]', 'session').description('play a session in its own time; all lines at once in a pipe'))
    .option('--speed <factor>', '0.25 to 16', '1')
    .option('--max-idle <time>', 'longest silence that is played in full; 0s plays all', '2s')
    .option('--from <place>', 'start at a frame (12, WRITER.12) or an offset (30s, 0:30)')
    .option('--all', 'every frame, nothing folded or left out')
    .option('--no-headers', 'leave out the titles of columns')
    .addOption(colorOption())
    .addHelpText('after', '\nKeys: space pause · ← → 5 s · shift ← → 10 % · < > slower, faster · s keep or cut silence · q quit')
    .action(async (id: string | undefined, options: PlayOptions) => done(await (await import('./play.ts')).runPlay(id, options, io)))
  withOutput(withSourceFlags(program.command('stats').argument('[id]', 'session').description('calls, errors and latency of each tool'))).action(
    async (id: string | undefined, options: SourceOptions & OutputOptions) => done(await (await import('./stats.ts')).runStats(id, options, io)),
  )
}

function addProof(program: Command, io: CliIo, done: Done): void {
  withSourceFlags(program.command('export').argument('[id]', 'session').description('a session as JSON lines, without values that look secret'))
    .option('--raw', 'exactly as recorded, secrets too')
    .option('--output-file <file>', 'write to a new file instead of standard output')
    .action(async (id: string | undefined, options: ExportOptions) => done(await (await import('./export.ts')).runExport(id, options, io)))
  withOutput(withSourceFlags(program.command('verify').argument('[id]', 'session; everything when left out').description('recompute every hash and say what that proves')))
    .option('--anchor <file>', 'heads kept where the recorder cannot write')
    .option('--require-anchor', 'fail unless the anchor proves the recording')
    .option('--save-anchor <file>', 'keep the heads of this recording as an anchor')
    .action(async (id: string | undefined, options: VerifyOptions) => done(await (await import('./verify.ts')).runVerify(id, options, io)))
}

function addCluster(program: Command, io: CliIo, done: Done): void {
  withRecording(
    program
      .command('record')
      .description('the recorder as the sidecar of a pod: as up, for servers on ports of the same pod')
      .requiredOption('--port <listen=app...>', 'where clients connect, and where the server listens: 15080=8080')
      .option('--connect-from <address>', 'IPv4 address of this machine from which to connect to the server (default: as the system chooses)')
      .option('--admin <host:port>', 'health and metrics; * is every address', '*:15090'),
  )
    .addOption(new Option('--on-failure <what>', 'when recording is impossible; policies of the pod say it otherwise').choices(['block', 'allow']).default('block'))
    .option('--server-name <name>', 'name of the server in recordings', 'mcp')
    .option('--policies <dir>', 'folder in which the policies of the pod are kept up to date: DIR/NAME/policy.json')
    .option('--key-file <file>', 'key for the hashes of what is not kept (default, and while there is no such file: one per run)')
    .addOption(logLevelOption())
    .action(async (options: RecordOptions) => done(await (await import('./record.ts')).runRecord(options, io)))
  program
    .command('ready')
    .description('wait until the recorder of this pod is ready; runs before the containers of the pod start')
    .option('--admin <host:port>', 'health and metrics of the recorder', '127.0.0.1:15090')
    .option('--timeout <time>', 'how long to wait', '1m')
    .action(async (options: ReadyOptions) => done(await (await import('./ready.ts')).runReady(options, io)))
  program
    .command('inject')
    .description('the admission webhook that puts recorders into pods; with --dry-run, what it would do with a file')
    .option('--config <file>', 'what the installation says about every recorder: image, sink, resources')
    .option('--listen <host:port>', 'where the API server asks; * is every address', '*:9443')
    .option('--admin <host:port>', 'health and metrics; * is every address', '*:15090')
    .option('--certificate <file>', 'certificate of the webhook, reread when it changes')
    .option('--key <file>', 'key of the certificate')
    .option('--sink <place>', 'firehose://stream?region=eu-west-1: record there who reaches past a recorder')
    .option('--archive <dir>', 'the same, into a folder')
    .option('--spool <dir>', 'where that waits until it is shipped; a local disk', './spool')
    .option('--spool-max <size>', 'most that it may take', '64Mi')
    .option('--own-certificates', 'make and rotate the certificates instead, in a Secret of the installation')
    .option('--kubeconfig <file>', 'how to reach the API server (default: as the pod)')
    .addOption(logLevelOption())
    .option('--drain <time>', 'how long to answer on when told to stop', '10s')
    .option('--dry-run', 'decide on the pods in a file, and print them as they would be')
    .option('-f, --file <file>', 'pods or workloads, for --dry-run; - is standard input')
    .option('--policy <file...>', 'session policies, for --dry-run')
    .option('--namespace <file>', 'the namespace with its labels, for --dry-run')
    .option('--node-minor <number>', 'minor version of the oldest node, for --dry-run', '34')
    .action(async (options: InjectOptions) => done(await (await import('./inject.ts')).runInject(options, io)))
  program
    .command('operate')
    .description('the operator: gives each session policy what it needs in the cluster, and says in its status what is true')
    .option('--config <file>', 'what the installation says about every recorder, as the injector has it')
    .option('--admin <host:port>', 'health and metrics; * is every address', '*:15090')
    .option('--kubeconfig <file>', 'how to reach the API server (default: as the pod)')
    .option('--drain <time>', 'how long work under way may go on when told to stop', '20s')
    .addOption(logLevelOption())
    .action(async (options: OperateOptions) => done(await (await import('./operate.ts')).runOperate(options, io)))
}

function addDoctor(program: Command, io: CliIo, done: Done): void {
  const doctor = program.command('doctor').description('look at what Steno depends on, and say what is wrong and what to change')
  withOutput(doctor.command('aws').description('a delivery stream and its bucket; changes and writes nothing'))
    .option('--sink <place>', 'the stream: firehose://stream?region=eu-west-1')
    .option('--archive <place>', 'the bucket: s3://bucket/prefix (default: where the stream delivers)')
    .option('--timeout <time>', 'how long to wait for answers', '20s')
    .option('--skip <id...>', 'checks to leave out, by name')
    .action(async (options: DoctorAwsOptions) => done(await (await import('./doctor/aws.ts')).runDoctorAws(options, io)))
  withOutput(doctor.command('cluster', { isDefault: true }).description('a cluster: installation, policies, pods and recorders, and the streams that they name; changes and writes nothing'))
    .option('-n, --namespace <name>', 'only policies and pods of this namespace (default: all)')
    .option('--installation <name>', 'namespace of the installation (default: the one that the API server asks)')
    .option('--kubeconfig <file>', 'how to reach the API server (default: KUBECONFIG, the pod, or ~/.kube/config)')
    .option('--context <name>', 'context of the kubeconfig (default: the current one)')
    .option('--timeout <time>', 'how long to wait for answers', '60s')
    .option('--skip <id...>', 'checks to leave out, by name; injector.dry-run is the one that tries pods')
    .action(async (options: DoctorClusterOptions) => done(await (await import('./doctor/cluster.ts')).runDoctorCluster(options, io)))
  doctor.addHelpText('after', `\nWithout a command it looks at the cluster; '${program.name()} doctor cluster --help' has the options.`)
  for (const command of doctor.commands) command.showHelpAfterError(`run '${program.name()} doctor ${command.name()} --help' for help`)
}

function addCompletion(program: Command, io: CliIo, done: Done): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .description('print what a shell needs to complete commands, flags and values')
    .action(async (shell: string) => done(await (await import('./completion/scripts.ts')).runCompletion(shell, io)))
}

/** Where a recorder keeps and ships what it records, and when it passes on. */
function withRecording(command: Command): Command {
  return command
    .option('--archive <dir>', 'folder for recordings (default: STENO_ARCHIVE, else ./recordings)')
    .option('--archive-max <size>', 'most that the folder may hold (default: no limit)')
    .option('--sink <place>', 'ship to Amazon Data Firehose instead: firehose://stream?region=eu-west-1')
    .option('--spool <dir>', 'folder for what is not yet shipped (default: .spool in the archive; with --sink, ./spool)')
    .option('--spool-max <size>', 'most that the spool may take', '512Mi')
    .option('--linger <seconds>', 'longest wait before a segment is shipped', '5')
    .addOption(new Option('--durability <when>', 'pass on what is on local disk, or only what the sink has').choices(['local', 'off-pod']).default('local'))
    .option('--off-pod-wait <time>', 'longest wait for the sink with off-pod, then as --on-failure says (default: 30s)')
    .option('--termination-log <file>', 'gets a line when it ends with something unshipped, or fails')
}

function withSourceFlags(command: Command): Command {
  return command
    .option('--archive <place>', 'folder of recordings, or s3://bucket/prefix (default: STENO_ARCHIVE, else ./recordings)')
    .option('-f, --file <file>', 'a segment or an exported file instead; - is standard input')
}

function withOutput(command: Command): Command {
  return command
    .addOption(new Option('-o, --output <format>', 'how to print').choices(FORMATS).default('table'))
    .option('--no-headers', 'leave out the titles of columns')
    .addOption(colorOption())
}

function logLevelOption(): Option {
  return new Option('--log-level <level>', 'how much to log').choices(LOG_LEVELS).default('info')
}

function colorOption(): Option {
  return new Option('--color <when>', 'colour').choices(['auto', 'always', 'never']).default('auto')
}

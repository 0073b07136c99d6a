// What stands around a run: its parameters, the lock on its folder, the log, the closing lines.

include { refuse } from './inputs'

def beginRun(params, run, words) {
    def stray = words.findAll { word -> "${word}" != 'true' } // the engine adds `true` behind -stub-run
    if (stray) {
        refuse("${stray.join(' ')}: belongs to no parameter; lists have commas and no spaces, and what has spaces stands in quotes")
    }
    def found = resolved(params, run)
    def options = found.options + [flags: found.flags, preset: found.preset]
    refuseOdd('the work folder', run.workDir, 'give another by -w')
    refuseOdd('this project', run.projectDir, 'move it')
    lockFolder(options.outdir, run.runName)
    if (!run.preview) {
        incomplete(options).text = "Run ${run.runName} has not finished: what lies here may be of an earlier run.\n"
    }
    found.said.each { line -> println(line) }
    logRun(options, run, 'running')
    // `onComplete` is not called after a refusal, which has said all.
    Runtime.runtime.addShutdownHook(new Thread({ System.getProperty('voxelmill.refused') && logRun(options, run, 'failed') }))
    return options
}

// Checked by core/head.py against the generated schema, as conf/check.config has asked before anything was compiled.
// `flags.<stage>` is the stage's part of a command line.
def resolved(params, run) {
    def given = new groovy.json.JsonSlurper().parseText(System.getProperty('voxelmill.given') ?: '{}')
    def config = params.findAll { name, _value -> !given.containsKey(name) }
    def facts = [given: given, config: config, profiles: "${run.profile}".tokenize(',')]
    def answer = askPython('options.py', ['resolve', "${projectDir}"], facts)
    if (answer.code != 0) {
        refuse(answer.told.trim(), answer.code)
    }
    return new groovy.json.JsonSlurper().parseText(answer.said)
}

// Nextflow writes these paths into its scripts unescaped; all other paths may have any name.
def refuseOdd(what, place, remedy) {
    def odd = place.toString().find('[$`"\\\\*?\\[\\]\\p{Cntrl}]')
    if (odd) {
        refuse("${what} lies in ${place}: the engine cannot work where a path has the character ${odd.inspect()}; ${remedy}")
    }
}

def endRun(options, run) {
    logRun(options, run, run.success ? 'finished' : 'failed')
    if (run.success && !run.preview) {
        incomplete(options).delete()
    }
}

def incomplete(options) {
    return new File("${options.outdir}", 'INCOMPLETE')
}

// Only one run at a time in a folder: an OS lock, which ends with this process, however that ends.
def lockFolder(outdir, name) {
    def folder = new File("${outdir}").absoluteFile
    folder.mkdirs()
    if (!folder.directory || !folder.canWrite()) {
        refuse("cannot write into --outdir ${folder}", 74)
    }
    def file = new File(folder, '.voxelmill.lock')
    def handle = new RandomAccessFile(file, 'rw')
    def lock = handle.channel.tryLock()
    if (lock == null) {
        refuse("${folder} is in use by ${file.text.trim()}; wait for it, or choose another --outdir", 75)
    }
    def host = java.net.InetAddress.localHost.hostName
    // Through the same handle: closing any other one on this file would release the lock.
    handle.setLength(0)
    handle.write("run ${name}, process ${java.lang.ProcessHandle.current().pid()} on ${host}\n".getBytes('UTF-8'))
    // The hook holds on to the lock: without it the lock would be collected, and so released, mid-run.
    Runtime.runtime.addShutdownHook(new Thread({ lock.release() }))
}

// bin/run_log.py writes it down; a run that cannot be logged goes on.
def logRun(options, run, status) {
    def stats = run.stats
    def facts = [
        run_id: "${run.runName}", session_id: "${run.sessionId}", status: status,
        params: options.findAll { name, _value -> !(name in ['flags', 'preset']) }, preset: options.preset,
        command: "${run.commandLine}", revision: "${run.commitId ?: ''}", resume: run.resume, profile: "${run.profile}",
        nextflow_version: "${run.nextflow.version}", started_at: "${run.start}", stub: run.stubRun || run.preview,
        error: run.errorMessage ?: System.getProperty('voxelmill.refused') ?: '', error_report: "${run.errorReport ?: ''}", refused: System.getProperty('voxelmill.refused') != null,
        tasks_done: stats?.succeedCount, tasks_cached: stats?.cachedCount, tasks_failed: stats?.failedCount, tasks_ignored: stats?.ignoredCount,
    ]
    def answer = askPython('run_log.py', ["${options.outdir}"], facts)
    if (answer.code != 0) {
        log.warn("the run could not be logged: ${answer.told.trim()}")
    }
    else if (answer.said) {
        println(answer.said.stripTrailing())
    }
}

// A script of bin/ beside the engine, not in a task: any Python 3.8 will do, it needs nothing installed. Facts go in as
// JSON; [code, said, told]: exit code, standard output, standard error.
def askPython(script, words, facts) {
    def own = new File("${projectDir}/.venv/bin/python")
    def command = [own.exists() ? own.path : 'python3', '-IS', "${projectDir}/bin/${script}"] + words
    def told = File.createTempFile('voxelmill', '.err')
    def process = new ProcessBuilder(command.collect { word -> word.toString() } as List<String>).redirectError(told).start()
    process.outputStream.withWriter('UTF-8') { out -> out.write(groovy.json.JsonOutput.toJson(facts)) }
    def said = process.inputStream.getText('UTF-8')
    def answer = [code: process.waitFor(), said: said, told: told.getText('UTF-8')]
    told.delete()
    return answer
}

// What stands around a run: the lock on its folder, the log, the closing lines.

include { checkedOptions } from './options'

def beginRun(given, run) {
    def options = checkedOptions(given)
    if (!options.input) {
        throw new IllegalArgumentException('--input is missing: give a path or a URI')
    }
    refuseOdd('the work folder', run.workDir, 'give another by -w')
    refuseOdd('this project', run.projectDir, 'move it')
    lockFolder(options.outdir, run.runName)
    logRun(options, run, 'running')
    return options
}

// Nextflow writes these paths into its scripts unescaped; all other paths may have any name.
def refuseOdd(what, place, remedy) {
    def odd = place.toString().find('[$`"\\\\*?\\[\\]\\p{Cntrl}]')
    if (odd) {
        throw new IllegalArgumentException("${what} lies in ${place}: the engine cannot work where a path has the character ${odd.inspect()}; ${remedy}")
    }
}

def endRun(given, run) {
    def folder = new File("${given.outdir}").absoluteFile
    // A run that was refused never had the folder: there is nothing to close.
    if (System.getProperty('voxelmill.locked') != folder.path) {
        return
    }
    logRun(checkedOptions(given), run, run.success ? 'finished' : 'failed')
    if (run.success) {
        new File(folder, 'INCOMPLETE').delete()
    }
}

// Only one run at a time in a folder: an OS lock, which ends with this process, however that ends.
def lockFolder(outdir, name) {
    def folder = new File("${outdir}").absoluteFile
    folder.mkdirs()
    if (!folder.directory || !folder.canWrite()) {
        throw new IllegalStateException("cannot write into --outdir ${folder}")
    }
    def file = new File(folder, '.voxelmill.lock')
    def handle = new RandomAccessFile(file, 'rw')
    def lock = handle.channel.tryLock()
    if (lock == null) {
        throw new IllegalStateException("${folder} is in use by ${file.text.trim()}; wait for it, or choose another --outdir")
    }
    def host = java.net.InetAddress.localHost.hostName
    // Through the same handle: closing any other one on this file would release the lock.
    handle.setLength(0)
    handle.write("run ${name}, process ${java.lang.ProcessHandle.current().pid()} on ${host}\n".getBytes('UTF-8'))
    // The hook holds on to the lock: without it the lock would be collected, and so released, mid-run.
    Runtime.runtime.addShutdownHook(new Thread({ lock.release() }))
    System.setProperty('voxelmill.locked', folder.path)
    new File(folder, 'INCOMPLETE').text = "Run ${name} has not finished: what lies here may be of an earlier run.\n"
}

// Hand the facts to bin/run_log.py: any Python 3 will do, it needs nothing installed.
def logRun(options, run, status) {
    def stats = run.stats
    def facts = [
        run_id: "${run.runName}", session_id: "${run.sessionId}", status: status, params: options.findAll { name, _value -> name != 'flags' },
        command: "${run.commandLine}", revision: "${run.commitId ?: ''}", resume: run.resume, profile: "${run.profile}",
        nextflow_version: "${run.nextflow.version}", started_at: "${run.start}", stub: run.stubRun,
        error: "${run.errorMessage ?: ''}", error_report: "${run.errorReport ?: ''}",
        tasks_done: stats?.succeedCount, tasks_cached: stats?.cachedCount, tasks_failed: stats?.failedCount, tasks_ignored: stats?.ignoredCount,
    ]
    def python = new File("${projectDir}/.venv/bin/python")
    def command = [python.exists() ? python.path : 'python3', "${projectDir}/bin/run_log.py", "${options.outdir}"].collect { word -> word.toString() }
    try {
        def process = new ProcessBuilder(command as List<String>).redirectErrorStream(true).start()
        process.outputStream.withWriter('UTF-8') { out -> out.write(groovy.json.JsonOutput.toJson(facts)) }
        def said = process.inputStream.getText('UTF-8')
        if (process.waitFor() != 0) {
            log.warn("the run could not be logged: ${said.trim()}")
        }
        else if (said) {
            println(said.stripTrailing())
        }
    }
    catch (IOException e) {
        log.warn("the run could not be logged: ${e.message}")
    }
}

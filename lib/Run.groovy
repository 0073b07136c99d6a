/** What stands around a run: checked parameters, the lock, the log, the closing lines. */
class Run {
    private static boolean begun = false

    static Map begin(Map params, Object workflow) {
        def options = Voxelmill.check(params, workflow.projectDir)
        if (!options.input) {
            throw new IllegalArgumentException('--input is missing: give a path or a URI')
        }
        Voxelmill.lock(options.outdir, workflow.runName)
        begun = true
        record(options, workflow, 'running')
        return options
    }

    static void end(Map params, Object workflow) {
        if (!begun) { return }
        def options = Voxelmill.check(params, workflow.projectDir)
        record(options, workflow, workflow.success ? 'finished' : 'failed')
        Voxelmill.unlock(options.outdir, workflow.success)
    }

    /** Hand the run to `bin/run_log.py`: any Python 3 will do, it needs nothing installed. */
    private static void record(Map options, Object workflow, String status) {
        def stats = workflow.stats
        def facts = [run_id: "${workflow.runName}", session_id: "${workflow.sessionId}", status: status, params: options,
                     command: "${workflow.commandLine}", revision: "${workflow.commitId ?: ''}", resume: workflow.resume,
                     profile: "${workflow.profile}", nextflow_version: "${workflow.nextflow.version}",
                     started_at: "${workflow.start}", error: workflow.errorMessage ?: '',
                     error_report: workflow.errorReport ?: '', stub: workflow.stubRun,
                     tasks_done: stats?.succeedCount, tasks_cached: stats?.cachedCount,
                     tasks_failed: stats?.failedCount, tasks_ignored: stats?.ignoredCount]
        def python = new File("${workflow.projectDir}/.venv/bin/python")
        List<String> command = [python.exists() ? python.path : "python3", "${workflow.projectDir}/bin/run_log.py", options.outdir]*.toString()
        try {
            def process = new ProcessBuilder(command).redirectErrorStream(true).start()
            process.outputStream.withWriter('UTF-8') { out -> out << groovy.json.JsonOutput.toJson(facts) }
            def said = process.inputStream.getText('UTF-8')
            if (process.waitFor() != 0) { System.err.println("WARN: the run could not be logged: ${said.trim()}") }
            else if (said) { print said }
        }
        catch (IOException e) {
            System.err.println("WARN: the run could not be logged: ${e.message}")
        }
    }
}

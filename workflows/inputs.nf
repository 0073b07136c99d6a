// From parameters and small files to what the processes take.

// [role, local path or nothing, fingerprint]; a URI is opened by the stage itself.
def sourceOf(role, location) {
    def text = "${location}"
    if (text.contains('://') && !text.startsWith('file://')) {
        return [role, [], text]
    }
    def found = localPath(text)
    if (!found.exists()) {
        refuse("--${role == 'raw' ? 'input' : role} ${text}: no such file or folder")
    }
    return [role, stageable(found), fingerprint(found)]
}

// By java.nio: Nextflow's own `file` takes *, ?, [ and { for a pattern. %20 stands for a space in a URI only.
def localPath(text) {
    def plain = text.replaceFirst('^file://', '')
    def path = java.nio.file.Path.of("${workflow.launchDir}").resolve(plain)
    if (plain == text || path.exists()) {
        return path
    }
    return java.nio.file.Path.of("${workflow.launchDir}").resolve(URLDecoder.decode(plain.replace('+', '%2B'), 'UTF-8'))
}

// What Nextflow can link into a task: a path as it is, or in its place a small file that says where it lies, which
// core/stage.py follows. Nextflow writes paths into its scripts with $, *, ?, [ and line ends unescaped, and follows
// links before it does, so that a link with a better name would not help.
def stageable(path) {
    if (isPlain(path) && isPlain(path.toRealPath())) {
        return path
    }
    def place = path.toAbsolutePath().toString()
    def state = path.isDirectory() ? '' : fingerprint(path) // of a folder it goes to the tasks by itself
    def pointer = workflow.workDir.resolve("pointers/${"${place} ${state}".sha256().take(16)}.pointer")
    if (!pointer.exists()) {
        pointer.parent.mkdirs()
        // Whole or not at all, and left alone ever after: its time is part of the hash of tasks.
        def partial = java.nio.file.Files.createTempFile(pointer.parent, 'new', '')
        partial.setText(place, 'UTF-8')
        java.nio.file.Files.move(partial, pointer, java.nio.file.StandardCopyOption.ATOMIC_MOVE)
    }
    return pointer
}

// Whether Nextflow's scripts keep a path as it is, and none of its names looks like an option.
def isPlain(path) {
    return path.toString().matches('[\\p{L}\\p{M}\\p{N}_./+=@,:%~() -]+') && !path.any { name -> name.toString().startsWith('-') }
}

// Tables of traces that somebody has looked through since an earlier run.
def inspectedIn(outdir) {
    def fovs = localPath("${outdir}").toFile().listFiles()?.findAll { one -> one.name.startsWith('fov_') && one.directory } ?: []
    def tables = fovs.collectMany { one -> one.listFiles().findAll { table -> table.name.endsWith('_traces_inspected.csv') } }
    return tables.sort().collect { table -> stageable(table.toPath()) }
}

// Names, sizes and times of all files below: Nextflow itself looks at a folder's root only.
def fingerprint(root) {
    if (!root.isDirectory()) {
        return "${root.name} ${root.size()} ${root.lastModified()}".sha256()
    }
    def files = java.nio.file.Files.walk(root).toList().findAll { path -> java.nio.file.Files.isRegularFile(path) }.sort()
    def rows = files.collect { path -> "${root.relativize(path)} ${java.nio.file.Files.size(path)} ${java.nio.file.Files.getLastModifiedTime(path)}" }
    return rows.join('\n').sha256()
}

// One map per line of a block list: `[block: '0-3']`, or with the batch it belongs to: `[block: '0-3', batch: '0-15']`.
def blocksOf(list) {
    return list.readLines().collect { line -> [['block', 'batch'], line.tokenize(' ')].transpose().collectEntries { pair -> pair } }
}

// All tuples [meta, ...] of a channel as one list, in the order of their blocks.
def byBlock(tuples) {
    return tuples.toSortedList { a, b -> firstShard(a[0]) <=> firstShard(b[0]) }
}

// Tuples [meta, file] of all blocks -> one [[block: batch], files in order] a batch.
def inBatches(tuples) {
    return byBlock(tuples)
        .flatMap { all -> all.groupBy { one -> one[0].batch }.collect { batch, of -> [[block: batch], of.collect { one -> one[1] }] } }
}

def firstShard(meta) {
    return meta.block.tokenize('-')[0].toInteger()
}

// The files of [meta, file] tuples in the order of their blocks, as one list.
def inOrder(tuples) {
    return byBlock(tuples).map { all -> all.collect { one -> one[1] } }
}

// All files of a channel of files, as one list that does not depend on who came first.
def byName(files) {
    return files.flatten().toSortedList { a, b -> a.name <=> b.name ?: "${a}" <=> "${b}" }
}

// [meta, stores, manifests] with one more store of the same batch.
def along(stores, more) {
    return stores.join(more).map { meta, all, manifests, store, manifest -> [meta, all + [store], manifests + [manifest]] }
}

// A mistake of the user: one line, and nothing behind it.
def refuse(message) {
    error("ERROR ${message}")
}

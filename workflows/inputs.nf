// From parameters and small files to what the processes take.

// [role, local path or nothing, fingerprint]; a URI is opened by the stage itself.
def sourceOf(role, location) {
    def text = "${location}"
    if (text.contains('://') && !text.startsWith('file://')) {
        return [role, [], text]
    }
    def found = file(text.replaceFirst('^file://', ''))
    if (!found.exists()) {
        throw new IllegalArgumentException("--${role == 'raw' ? 'input' : role} ${text}: no such file or folder")
    }
    return [role, found, fingerprint(found)]
}

// Names, sizes and times of all files below: Nextflow itself looks at a folder's root only.
def fingerprint(root) {
    if (!root.isDirectory()) {
        return ''
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

// From parameters and small files to what the processes take.

// [role, local path or nothing, fingerprint]; a URI is opened by the stage itself.
def sourceOf(role, location) {
    return sourceWithin(Integer.MAX_VALUE, role, location)
}

// One source a role that has a location. The fingerprint is null where it would take a look at more files than the head
// should look at itself (so many take one or two seconds on a slow file server): LIST_FILES looks, see `settled`.
def sourcesAtStart(locations) {
    def most = (System.getenv('VOXELMILL_FILES_AT_START') ?: '20000') as int
    return locations.findAll { _role, location -> location }.collect { role, location -> sourceWithin(most, role, location) }
}

// Of a queue of sources, [role, path] of those that LIST_FILES has to look at.
def unlisted(sources) {
    return sources.filter { source -> source[2] == null }.map { source -> source.take(2) }
}

// The same queue with all fingerprints.
def settled(sources, listings) {
    def looked = unlisted(sources).join(listings).map { role, path, list -> [role, path, list.text.sha256()] }
    return sources.filter { source -> source[2] != null }.mix(looked)
}

def ofRole(sources, role) {
    return sources.filter { source -> source[0] == role }
}

def sourceWithin(most, role, location) {
    def text = "${location}"
    def uri = text.replaceFirst('^precomputed://', '')
    if (uri.contains('://') && !uri.startsWith('file://')) {
        return [role, [], text]
    }
    def found = localPath(uri)
    if (!found.exists()) {
        def pattern = "${found.fileName}" ==~ /.*[*?\[].*/ ? '; patterns are not taken, give the folder' : ''
        refuse("--${role == 'raw' ? 'input' : role} ${text}: no such file or folder${pattern}")
    }
    return [role, stageable(found), fingerprint(found, most)]
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
    if (workflow.containerEngine) {
        refuse("${path}: in a container a path cannot have such characters; rename the file or folder")
    }
    def place = path.toAbsolutePath().toString()
    return pointer(place, path.isDirectory() ? '' : fingerprint(path, 1)) // of a folder it goes to the tasks by itself
}

// The source for tasks that read a part of it, of which `meta.files` is the key (`key` in core/files.py): neither the
// other files nor the time of the folder count. In a container, where a pointer leads nowhere, the folder's time does.
def inParts(source) {
    return source.map { role, path, _fingerprint -> [role, path && path.isDirectory() && !workflow.containerEngine ? pointer("${path}", '') : path, ''] }
}

def pointer(place, state) {
    return kept("${"${place} ${state}".sha256().take(16)}.pointer", place)
}

// The same table at a place that follows from its words, so that tasks know it again when another task has written them.
def byContent(table) {
    return kept("${table.text.sha256().take(16)}/${table.name}", table.text)
}

// A small file, written whole or not at all and left alone ever after: its place and time are part of the hash of tasks.
def kept(name, text) {
    def place = workflow.workDir.resolve("pointers/${name}")
    if (!place.exists()) {
        place.parent.mkdirs()
        def partial = java.nio.file.Files.createTempFile(place.parent, 'new', '')
        partial.setText(text, 'UTF-8')
        java.nio.file.Files.move(partial, place, java.nio.file.StandardCopyOption.ATOMIC_MOVE)
    }
    return place
}

// A folder that a task writes into beside its own; made where there is none.
def folderFor(name, location) {
    if (!location) {
        refuse("--${name} is missing: give a folder")
    }
    def folder = localPath("${location}")
    folder.mkdirs()
    return folder.isDirectory() ? stageable(folder) : refuse("--${name} ${location}: not a folder, and none can be made there", 74)
}

// Whether Nextflow's scripts keep a path as it is, and none of its names looks like an option.
def isPlain(path) {
    return path.toString().matches('[\\p{L}\\p{M}\\p{N}_./+=@,:%~()\' -]+') && !path.any { name -> name.toString().startsWith('-') }
}

// Whether the input of `mosaic` are plain tiles: a CZI, or TIFFs in a folder or in the folders in it.
def hasPlainTiles(options) {
    def root = localPath("${options.input}").toFile()
    def folders = root.listFiles()?.findAll { one -> one.directory && !isRawTile(one.name) } ?: []
    return options.tile_positions || root.name ==~ /(?i).*\.czi/ || hasTiffs(root) || folders.any { one -> hasTiffs(one) }
}

// Pictures that somebody has laid beside raw OCT tiles make no plain tiles of them.
def hasTiffs(folder) {
    def names = folder.list()?.toList() ?: []
    return names.any { name -> name ==~ /(?i)[^.].*\.tiff?/ } && !names.any { name -> isRawTile(name) }
}

def isRawTile(name) {
    return name ==~ /tile_x\d+_y\d+_z\d+/
}

// A table by its parameter, or by the parameter's name in --input; nothing where there is none. One that is needed has been
// looked for by core/head.py.
def tableOf(options, name) {
    def beside = localPath("${options.input}").resolve("${name}.csv")
    return options[name] || beside.exists() ? sourceOf(name, options[name] ?: beside)[1] : []
}

// The atlas: a file or folder by its parameter, or what BrainGlobe has fetched for this user.
def atlasOf(options) {
    def cache = localPath(System.getenv('BRAINGLOBE_DIR') ?: "${System.getProperty('user.home')}/.brainglobe")
    def wanted = "allen_mouse_${options.allen_resolution}um_v"
    def cached = (cache.toFile().list()?.toList() ?: []).findAll { name -> name.startsWith(wanted) }.sort()
    if (!options.atlas && !cached) {
        refuse("--align_to_ras_enabled: no atlas at hand, and nothing is downloaded; give --atlas FILE (.nii.gz, .nrrd, OME-Zarr), or fetch ${wanted}* by BrainGlobe to ${cache}")
    }
    def lacks = options.atlas ? orientationLacking(localPath("${options.atlas}").toFile()) : ''
    if (lacks) {
        refuse("--atlas ${options.atlas}: no orientation (${lacks}); write it with one, so that left is not right", 65)
    }
    return sourceOf('atlas', options.atlas ?: cache.resolve(cached.last()))[1]
}

// What an atlas lacks that would say how it lies; nothing where it says so. What cannot be read is looked at where it is read,
// which is after the whole stack.
def orientationLacking(file) {
    try {
        if (file.directory) {
            def said = ['zarr.json', '.zattrs', 'metadata.json'].collect { name -> new File(file, name) }.findAll { one -> one.file }
            return said && !said.any { one -> one.text.contains('"orientation"') } ? "none in ${said[0].name}" : ''
        }
        if (file.name ==~ /(?i).*\.n(rrd|hdr)/) {
            def head = new String(file.withInputStream { raw -> raw.readNBytes(65536) }, 'ISO-8859-1').split(/\r?\n\r?\n/)[0]
            def lines = ['space', 'space directions'].findAll { name -> !head.toLowerCase().readLines().any { line -> line.startsWith("${name}:") } }
            return lines ? "no ${lines.join(', no ')} in its header" : ''
        }
        if (file.name ==~ /(?i).*\.nii(\.gz)?/) {
            def head = file.withInputStream { raw ->
                (file.name.toLowerCase().endsWith('.gz') ? new java.util.zip.GZIPInputStream(raw) : raw).readNBytes(256)
            }
            def nifti1 = head.size() == 256 && (head[0] == 92 || head[3] == 92) // 348 in either order of bytes
            return nifti1 && (252..255).every { n -> head[n] == 0 } ? 'neither sform nor qform' : ''
        }
    }
    catch (IOException _e) {
        return ''
    }
    return ''
}

// Transforms of pairs that a person has laid, by the pair's name: NAME/manual.tfm, as `voxelmill align` leaves them, or NAME.tfm.
def transformsIn(folder, input) {
    def files = folder ? localPath("${folder}").toFile().listFiles().sort() : []
    def plain = files.findAll { one -> one.file && one.name.endsWith('.tfm') }.collectEntries { one -> [one.name - '.tfm', one] }
    def saved = files.collectEntries { one -> [one.name, new File(one, 'manual.tfm')] }.findAll { _name, one -> one.file }
    if (folder && !(plain + saved)) {
        refuse("--manual_transforms_dir ${folder}: neither NAME.tfm nor NAME/manual.tfm in it; make them by voxelmill align", 65)
    }
    def strange = (plain + saved).keySet().findAll { name -> !(name ==~ /z\d+-z\d+/) }
    if (strange) {
        refuse("--manual_transforms_dir ${folder}: ${strange.sort().join(', ')}; expected names of pairs, such as z07-z08", 65)
    }
    def there = (localPath("${input}").toFile().list()?.toList() ?: []).collectMany { name -> name.findAll(/_z(\d+)[_.]/) { _all, n -> n as int } }
    def beyond = (plain + saved).keySet().findAll { name -> there && name.findAll(/\d+/).any { n -> !((n as int) in there.min()..there.max()) } }
    if (beyond) {
        refuse("--manual_transforms_dir ${folder}: no pair ${beyond.sort().join(', ')} in this run; expected transforms of its own pairs", 65)
    }
    return (plain + saved).collectEntries { name, one -> [name, stageable(one.toPath())] }
}

// [store, its manifest or nothing] of a folder.
def storeIn(folder, name) {
    def store = localPath("${folder}").resolve("${name}")
    def manifest = store.resolveSibling("${name}.manifest.json")
    return [stageable(store), manifest.exists() ? stageable(manifest) : []]
}

// Tables of traces that somebody has looked through since an earlier run.
def inspectedIn(outdir) {
    def fovs = localPath("${outdir}").toFile().listFiles()?.findAll { one -> one.name.startsWith('fov_') && one.directory } ?: []
    def tables = fovs.collectMany { one -> one.listFiles().findAll { table -> table.name.endsWith('_traces_inspected.csv') } }
    return tables.sort().collect { table -> stageable(table.toPath()) }
}

// The files that may hold one movie with this one: OME-TIFF may name others beside it, of which only numbers differ.
def together(root) {
    def plain = root.name.replaceFirst(/(?i)(_MMStack.*|[\d_-]*)\.(ome\.tiff?|companion\.ome)$/, '')
    if (plain == root.name) {
        return [root]
    }
    def beside = root.toAbsolutePath().parent.toFile().listFiles()?.findAll { one -> one.name.startsWith(plain) && one.file } ?: []
    return beside.sort().collect { one -> one.toPath() }
}

// Names, sizes and times of all files below: Nextflow itself looks at a folder's root only.
def fingerprint(root, most) {
    if (!root.isDirectory()) {
        return together(root).collect { path -> "${path.name} ${path.size()} ${path.lastModified()}" }.join('\n').sha256()
    }
    def rows = []
    return listBelow(root, '', [], most, rows) ? rows.join('\n').sha256() : null
}

// Adds one row a file, in order; false as soon as there would be more than `most`. Links are followed, but not one that
// leads back to a folder around it.
def listBelow(folder, name, above, most, rows) {
    def real = folder.toRealPath()
    def entries = above.contains(real) ? [] : folder.toFile().list()?.toList()?.sort()
    if (entries == null) {
        refuse("${folder}: this folder cannot be read; check its permissions", 74)
    }
    return rows.size() + entries.size() <= most && entries.every { entry ->
        def state = stateOf(folder.resolve(entry))
        if (state?.isDirectory()) {
            return listBelow(folder.resolve(entry), "${name}${entry}/", above + [real], most, rows)
        }
        rows << "${name}${entry} ${state?.size()} ${state?.lastModifiedTime()}"
        return true
    }
}

// One look at a file; null where a link leads nowhere.
def stateOf(path) {
    try {
        return java.nio.file.Files.readAttributes(path, java.nio.file.attribute.BasicFileAttributes)
    }
    catch (java.nio.file.NoSuchFileException _e) {
        return null
    }
}

// One map, `meta`, a row of a list that a stage has written (python/voxelmill/core/plans.py): [id: '0-3', block: '0-3'] of
// a block of shards or of fields of view, [id: 'z07', slice: '7'] of a slice, with whatever else the row says.
def metasOf(list) {
    return list.splitCsv(header: true)
}

// The order of tasks, and so of all lists that are made of what they leave: that of the numbers in `id`.
def byId(a, b) {
    def these = numbersIn(a)
    def those = numbersIn(b)
    def k = (0..<Math.min(these.size(), those.size())).find { n -> these[n] != those[n] }
    return k == null ? these.size() <=> those.size() ?: a.id <=> b.id : these[k] <=> those[k]
}

def numbersIn(meta) {
    return meta.id.findAll('[0-9]+').collect { digits -> digits.toLong() }
}

// Tuples [meta, ...] as one list, always in the same order, so that -resume knows a task that takes them all.
def sorted(tuples) {
    return tuples.sort(false) { a, b -> byId(a[0], b[0]) }
}

// All tuples [meta, ...] of a channel as one list, in the same order: a value channel.
def allInOrder(tuples) {
    return tuples.toList().map { all -> sorted(all) }
}

// Tuples [meta, file] of all blocks -> one [meta of the batch, files in order] a batch.
def inBatches(tuples) {
    return allInOrder(tuples)
        .flatMap { all -> all.groupBy { one -> one[0].batch }.collect { batch, of -> [[id: batch, block: batch], of.collect { one -> one[1] }] } }
}

// The files of [meta, file] tuples in order, as one list.
def filesInOrder(tuples) {
    return allInOrder(tuples).map { all -> all.collect { one -> one[1] } }
}

// A list of tuples [meta, a, b, ...], all in order, as [all a, all b, ...].
def columns(found) {
    return found.map { all -> all.collect { one -> one.drop(1) }.transpose() }
}

// Things by number in batches, `0-of-3`: those that leave 0 divided by 3; one for so many blocks.
def batchesOf(blocks) {
    def count = Math.max(1, blocks.intdiv(32))
    return (0..<count).collect { n -> [id: "${n}-of-${count}".toString(), batch: "${n}-of-${count}".toString()] }
}

// All files of a channel of files, as one list that does not depend on who came first.
def byName(files) {
    return files.flatten().unique().toSortedList { a, b -> a.name <=> b.name ?: "${a}" <=> "${b}" }
}

// What JOIN takes to make one store of a volume's blocks, [meta, store, manifest]. A single block is the store already.
def several(blocks) {
    return allInOrder(blocks)
        .filter { all -> all.size() > 1 }
        .map { all -> [all[0][1].name, all.collect { b -> b[1] }, all.collect { b -> b[2] }] }
}

// The one store, [store, manifest], a value channel: what JOIN made of several blocks, or the single one.
def joined(blocks, made) {
    return allInOrder(blocks)
        .filter { all -> all.size() == 1 }
        .map { all -> [all[0][1], all[0][2]] }
        .mix(made)
        .first()
}

// [meta, stores, manifests] with one more store of the same batch.
def along(stores, more) {
    return stores.join(more).map { meta, all, manifests, store, manifest -> [meta, all + [store], manifests + [manifest]] }
}

// Volumes as they are published: [name, store, manifest, labels or [], their manifest or []]. Where one is divided into
// superblocks (a list that a stage has written), the lower levels of its pyramid are made block by block.
//
//     PYRAMID(inSuperblocks(volumes, superblocks, options), flags.pyramid)
//     MULTISCALE(withLevels(volumes, superblocks, PYRAMID.out.levels, options), flags.multiscale)
def inSuperblocks(volumes, superblocks, options) {
    return divided(volumes, superblocks, options)
        .filter { row -> row[5].size() > 1 }
        .flatMap { row -> row[5].collect { meta -> row[0..4] + [meta + [of: row[5].size()]] } }
}

def withLevels(volumes, superblocks, levels, options) {
    def gathered = levels
        .map { name, meta, store, manifest -> [groupKey(name, meta.of), [meta, store, manifest]] }
        .groupTuple()
        .map { key, parts -> [key.target, sorted(parts.toList())] }
        .map { name, parts -> [name, parts.collect { part -> part[1] }, parts.collect { part -> part[2] }] }
    def cases = divided(volumes, superblocks, options)
    return cases.filter { row -> row[5].size() <= 1 }
        .map { row -> row[0..4] + [[], []] }
        .mix(cases.filter { row -> row[5].size() > 1 }.map { row -> row[0..4] }.join(gathered))
}

// The volumes with their superblocks: none where there is nothing to make but a link to level 0.
def divided(volumes, superblocks, options) {
    return volumes
        .combine(superblocks.map { list -> [metasOf(list)] })
        .map { row -> row[0..4] + [makesLevels(row[0], options) ? row[5] : []] }
}

// That of the aligned volume changes its type.
def makesLevels(name, options) {
    return name == 'aligned' || options.ome_zarr_version == '0.4' || (!options.save_minimal && options.max_levels > 1)
}

// What is refused once all is compiled: one line, nothing behind it, and the exit code that core/errors.py has for it. By
// `error` it would be 1. The engine ends its tasks as at a signal; run.nf closes the account of the run.
def refuse(message, code = 64) {
    System.err.println("ERROR ${message}")
    System.setProperty('voxelmill.refused', "${message}")
    System.exit(code)
}

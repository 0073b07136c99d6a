import java.nio.file.Files
import java.nio.file.Path
import java.security.MessageDigest

/** From parameters and small files to what the processes take. */
class Inputs {
    /** [role, local path or nothing, fingerprint]; a URI is opened by the stage itself. */
    static List source(String role, Object location) {
        def text = location.toString()
        if (text =~ /^[a-z]+:\/\// && !text.startsWith('file://')) { return [role, [], text] }
        def path = Path.of(text.replaceFirst('^file://', '')).toAbsolutePath()
        if (!Files.exists(path)) {
            throw new IllegalArgumentException("--${role == 'raw' ? 'input' : role} ${text}: no such file or folder")
        }
        return [role, path, fingerprint(path)]
    }

    /** Names, sizes and times of all files: Nextflow itself looks at a folder's root only. */
    static String fingerprint(Path root) {
        if (!Files.isDirectory(root)) { return '' }
        def digest = MessageDigest.getInstance('SHA-256')
        def files = Files.walk(root)
        try {
            files.filter { p -> Files.isRegularFile(p) }.sorted().forEach { p ->
                digest.update("${root.relativize(p)} ${Files.size(p)} ${Files.getLastModifiedTime(p)}\n".getBytes('UTF-8'))
            }
        }
        finally { files.close() }
        return digest.digest().encodeHex().toString()
    }

    /** One map per line of a block list: `[block: '0-3']`. */
    static List blocks(Object list) {
        return list.readLines().collect { line -> [block: line] }
    }

    static int first(Map meta) { return (meta.block as String).tokenize('-')[0] as int }

    /** The files of [meta, file] tuples in block order, as one list. */
    static Object inOrder(Object channel) {
        return channel.toSortedList { a, b -> first(a[0]) <=> first(b[0]) }.map { all -> all.collect { one -> one[1] } }
    }

    static Closure byName() {
        return { a, b -> a.name <=> b.name ?: a.parent.name <=> b.parent.name }
    }
}

process EXPORT_TRACKS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(labels), path(labels_manifest), path(tracked), path(tracked_manifest)
    path facts
    val flags

    output:
    path 'published/tracks/fov_*', emit: tracks, optional: true
    path 'published/tracks/ctc/*', emit: ctc, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    export_tracks.py ${flags} --labels ${labels} --tracked ${tracked} --facts ${facts} --batch ${meta.block} --output published/tracks
    """

    stub:
    """
    stub.sh published/tracks/ctc/fov_000/ published/tracks/fov_000.geff/ export_tracks.${meta.block}.provenance.json
    """
}

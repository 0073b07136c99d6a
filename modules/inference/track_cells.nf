process TRACK_CELLS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(labels), path(labels_manifest)
    path facts
    tuple path(plugins), val(plugins_fingerprint)
    val flags

    output:
    tuple val(meta), path('tracked'), path('tracked.manifest.json'), emit: tracked
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    track_cells.py ${flags} --labels ${labels} --facts ${facts} --batch ${meta.block} ${plugins ? "--plugins ${plugins}" : ''} --output tracked
    """

    stub:
    """
    stub.sh tracked/ tracked.manifest.json track_cells.${meta.block}.provenance.json
    """
}

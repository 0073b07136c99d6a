// Done again where the files of these fields of view are others (`files`).
process READ_DETECTIONS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(role), path(source, stageAs: 'source/*'), val(fingerprint)
    path facts
    tuple val(meta), val(files)
    val flags

    output:
    tuple val(meta), path('labels'), path('labels.manifest.json'), emit: labels
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    read_detections.py ${flags} --source ${source} --facts ${facts} --batch ${meta.block} --output labels
    """

    stub:
    """
    stub.sh labels/ labels.manifest.json read_detections.${meta.block}.provenance.json
    """
}

process ALIGN {
    label 'process_single'

    input:
    path(pairs, stageAs: 'pairs?.npz')
    path facts
    tuple path(volume), path(volume_manifest)
    val flags

    output:
    path 'transforms.npz', emit: transforms
    path 'alignment.csv', emit: table
    path '*.provenance.json', emit: provenance

    script:
    """
    align.py ${flags} --pairs pairs*.npz --facts ${facts} --volume ${volume} --transforms transforms.npz --table alignment.csv
    """

    stub:
    """
    stub.sh transforms.npz alignment.csv align.provenance.json
    """
}

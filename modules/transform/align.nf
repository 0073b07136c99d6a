process ALIGN {
    label 'process_single'

    input:
    path(pairs, stageAs: 'pairs?.npz')
    path facts
    tuple path(volume), path(volume_manifest)
    val flags

    output:
    path 'published/tables/transforms.npz', emit: transforms
    path 'published/tables/alignment.csv', emit: table
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    align.py ${flags} --pairs pairs*.npz --facts ${facts} --volume ${volume} --transforms published/tables/transforms.npz --table published/tables/alignment.csv
    """

    stub:
    """
    stub.sh published/tables/transforms.npz published/tables/alignment.csv align.provenance.json
    """
}

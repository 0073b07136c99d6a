process PUBLISH_FOVS {
    tag "${meta.block}"
    label 'process_medium'
    label 'per_block'

    input:
    tuple val(meta), path(stores), path(manifests)
    path facts
    val flags

    output:
    path 'published/fov_*/*', emit: fovs, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    publish_fovs.py ${flags} --stores ${stores} --facts ${facts} --batch ${meta.block} --output published
    """

    stub:
    """
    stub.sh published/fov_000/images.zarr/ publish_fovs.${meta.block}.provenance.json
    """
}
